"""A YOLO of some size with a global sparsity on its convolutions, and int8 with or without its heads."""

from optuna import Trial

from searcher.recipe import Model, PruneWeights, Quantize, Recipe, Stage, Train


def suggest(trial: Trial) -> Recipe:
    """One recipe."""
    size = trial.suggest_categorical("size", ["n", "s"])
    width = trial.suggest_categorical("width", [0.125, 0.25])
    stages: list[Stage] = [Train(optimizer="adam", lr=0.002, weight_decay=0.0, batch_size=16)]
    if trial.suggest_categorical("prune_weights", [False, True]):
        sparsity = trial.suggest_float("sparsity", 0.1, 0.7)
        stages.append(
            PruneWeights(sparsity=sparsity, share=0.25, optimizer="adam", lr=0.0005, weight_decay=0.0)
        )
    if trial.suggest_categorical("int8", [False, True]):
        kept_out = trial.suggest_categorical("exclude_heads", [False, True])
        stages.append(Quantize(exclude={"heads": 32} if kept_out else {}))
    return Recipe(model=Model(name="yolo", args={"size": size, "width": width}), stages=tuple(stages))


_PUBLISHED = {"size": "n", "width": 0.25, "prune_weights": True, "sparsity": 0.3}

# The published recipe, 30 % of the convolutions' weights, without int8 and with it.
ENQUEUE = [_PUBLISHED | {"int8": False}, _PUBLISHED | {"int8": True, "exclude_heads": False}]
