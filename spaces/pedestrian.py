"""Small detectors for low-power hardware: channels pruned step by step with finetuning between, then int8."""

from typing import Any

from optuna import Trial

from searcher.recipe import Model, PruneChannels, Quantize, Recipe, Stage, Train

STEPS = 3


def suggest(trial: Trial) -> Recipe:
    """One recipe; how the channels to go are chosen is searched as well: at random is not that bad."""
    family = trial.suggest_categorical("family", ["ssd_mobilenet_v1", "ssd_mobilenet_v2"])
    args: dict[str, Any] = {
        "width": trial.suggest_categorical("width", [0.25, 0.35, 0.5]),
        "finest": trial.suggest_categorical("finest", [8, 16]),
        "extras": 1,
    }
    stages: list[Stage] = [Train(optimizer="adam", lr=0.003, weight_decay=0.0, batch_size=16)]
    stages += _steps(trial) if trial.suggest_categorical("prune_channels", [False, True]) else []
    if trial.suggest_categorical("int8", [False, True]):
        kept_out = trial.suggest_categorical("exclude_heads", [False, True])
        stages.append(Quantize(exclude={"heads": 32} if kept_out else {}))
    return Recipe(model=Model(name=family, args=args), stages=tuple(stages))


def _steps(trial: Trial) -> list[Stage]:
    """As many prunings as steps, each of the same ratio of what is left, finetuned."""
    total = trial.suggest_float("channels_ratio", 0.1, 0.6)
    steps = trial.suggest_int("channels_steps", 1, STEPS)
    choices = {
        "ratio": 1 - (1 - total) ** (1 / steps),
        "criterion": trial.suggest_categorical("channels_criterion", ["random", "l1", "activation"]),
        "engine": trial.suggest_categorical("channels_engine", ["torch-pruning", "nni"]),
        "optimizer": "adam",
        "lr": 0.001,
        "weight_decay": 0.0,
        "batch_size": 16,
        "share": 0.5 / steps,
    }
    return [PruneChannels.model_validate(choices) for _ in range(steps)]


# The network as it is, from which a sweep of one stage begins.
ENQUEUE = [
    {
        "family": "ssd_mobilenet_v2",
        "width": 0.5,
        "finest": 16,
        "prune_channels": False,
        "int8": False,
    }
]
