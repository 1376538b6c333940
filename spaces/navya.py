"""SSD-MobileNetV2 with L1-pruned convolutions and static int8, calibrated on a few hundred images."""

from optuna import Trial

from searcher.recipe import Model, PruneWeights, Quantize, Recipe, Stage, Train


def suggest(trial: Trial) -> Recipe:
    """One recipe: which width, how sparse, whether in int8, and whether its heads are kept out of it."""
    model = Model(
        name="ssd_mobilenet_v2",
        args={
            "width": trial.suggest_categorical("width", [0.35, 0.5, 1.0]),
            "finest": trial.suggest_categorical("finest", [8, 16]),
            "extras": 2,
        },
    )
    stages: list[Stage] = [Train(optimizer="adam", lr=0.002, weight_decay=0.0, batch_size=16)]
    if trial.suggest_categorical("prune_weights", [False, True]):
        sparsity = trial.suggest_float("sparsity", 0.02, 0.5)
        stages.append(
            PruneWeights(sparsity=sparsity, share=0.25, optimizer="adam", lr=0.0005, weight_decay=0.0)
        )
    if trial.suggest_categorical("int8", [False, True]):
        images = trial.suggest_categorical("calibration_images", [64, 256])
        kept_out = trial.suggest_categorical("exclude_heads", [False, True])
        stages.append(Quantize(calibration_images=images, exclude={"heads": 32} if kept_out else {}))
    return Recipe(model=model, stages=tuple(stages))


# The network as it is, from which a sweep of one stage begins.
ENQUEUE = [{"width": 1.0, "finest": 16, "prune_weights": False, "int8": False}]
