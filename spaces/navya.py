"""SSD-MobileNetV2 in mixed precision or not, L1-pruned, in static int8 calibrated on a few hundred images."""

from typing import Any

from optuna import Trial

from searcher.recipe import Model, PruneWeights, Quantize, Recipe, Stage, Train


def suggest(trial: Trial) -> Recipe:
    """One recipe: its width, in what it is trained, how sparse, in int8 or not, with its heads or without."""
    model = Model(
        name="ssd_mobilenet_v2",
        args={
            "width": trial.suggest_categorical("width", [0.35, 0.5, 1.0]),
            "finest": trial.suggest_categorical("finest", [8, 16]),
            "extras": 2,
        },
    )
    precision: Any = trial.suggest_categorical("precision", ["fp32", "bf16"])
    stages: list[Stage] = [
        Train(optimizer="adam", lr=0.002, weight_decay=0.0, batch_size=16, precision=precision)
    ]
    if trial.suggest_categorical("prune_weights", [False, True]):
        sparsity = trial.suggest_float("sparsity", 0.02, 0.5)
        stages.append(
            PruneWeights(
                sparsity=sparsity,
                layers="convolutions",
                share=0.25,
                optimizer="adam",
                lr=0.0005,
                weight_decay=0.0,
                precision=precision,
            )
        )
    if trial.suggest_categorical("int8", [False, True]):
        images = trial.suggest_categorical("calibration_images", [64, 256])
        kept_out = trial.suggest_categorical("exclude_heads", [False, True])
        stages.append(Quantize(calibration_images=images, exclude={"heads": 32} if kept_out else {}))
    return Recipe(model=model, stages=tuple(stages))


_WHOLE = {"width": 1.0, "finest": 16, "prune_weights": False, "int8": False}

# The network as it is, from which a sweep of one stage begins, and trained in mixed precision.
ENQUEUE = [_WHOLE | {"precision": "fp32"}, _WHOLE | {"precision": "bf16"}]
