"""The MicroNet space: small DenseNets, every way of compressing them, in one conditional space."""

from math import gcd
from typing import Any

from optuna import Trial

from searcher.recipe import Distill, Model, PruneChannels, PruneWeights, Quantize, Recipe, Stage, Train

BLOCKS = ("stem", "dense1", "trans1", "dense2", "trans2", "dense3", "trans3", "dense4", "classifier")
DEPTHS = {"dense1": 6, "dense2": 12, "dense3": 24, "dense4": 16}
GROWTH_RATES = (2, 12)


def suggest(trial: Trial) -> Recipe:
    """One recipe. A choice that is off suggests none of its parameters."""
    model = _model(trial)
    stages: list[Stage] = [_train(trial)]
    if trial.suggest_categorical("prune_channels", [False, True]):
        stages.append(_prune_channels(trial))
    if trial.suggest_categorical("distill", [False, True]):
        stages.append(_distill(trial, model))
    if trial.suggest_categorical("prune_weights", [False, True]):
        stages.append(_prune_weights(trial))
    if trial.suggest_categorical("int8", [False, True]):
        stages.append(_quantize(trial))
    return Recipe(model=model, stages=tuple(stages))


def _model(trial: Trial) -> Model:
    growth_rate = trial.suggest_int("growth_rate", *GROWTH_RATES)
    depthwise = trial.suggest_categorical("depthwise", [False, True])
    args: dict[str, Any] = {"growth_rate": growth_rate, "depthwise": depthwise}
    if growth_rate % 2 == 0:
        args["groups_1x1"] = _groups(growth_rate, trial.suggest_categorical("groups_1x1", [1, 2, 4]))
        if not depthwise:
            args["groups_3x3"] = _groups(growth_rate, trial.suggest_categorical("groups_3x3", [1, 2, 4]))
    args["blocks"] = [
        trial.suggest_int(f"{name}_layers", max(1, most // 3), most) for name, most in DEPTHS.items()
    ]
    return Model(name="densenet", args=args)


def _groups(growth_rate: int, asked: int) -> int:
    """The groups nearest to what was asked that divide k and leave two channels in each: 4 on k = 6 is 2."""
    # With one channel in each group nothing is left to prune.
    return min(gcd(growth_rate, asked), growth_rate // 2)


def _train(trial: Trial) -> Train:
    mixup = trial.suggest_categorical("mixup", [False, True])
    return Train(mixup=trial.suggest_float("mixup_alpha", 0.1, 1.0) if mixup else 0.0)


def _prune_channels(trial: Trial) -> PruneChannels:
    choices = {
        "ratio": trial.suggest_float("channels_ratio", 0.1, 0.6),
        "criterion": trial.suggest_categorical("channels_criterion", ["l1", "l2", "fpgm"]),
        "engine": trial.suggest_categorical("channels_engine", ["torch-pruning", "nni"]),
    }
    return PruneChannels.model_validate(choices | {"share": 0.5, "lr": 0.05})


def _distill(trial: Trial, student: Model) -> Distill:
    growth_rate = trial.suggest_categorical("teacher_growth_rate", [4, 8, 12])
    return Distill(
        share=0.5,
        optimizer="adam",
        lr=0.002,
        weight_decay=0.0,
        teacher=Model(name=student.name, args={"growth_rate": growth_rate}),
        temperature=trial.suggest_float("temperature", 1.0, 8.0),
        weight=trial.suggest_float("distill_weight", 0.1, 0.9),
    )


def _prune_weights(trial: Trial) -> PruneWeights:
    iterative = trial.suggest_categorical("weights_schedule", ["one-shot", "iterative"]) == "iterative"
    choices = {
        "sparsity": trial.suggest_float("sparsity", 0.1, 0.9),
        "scope": trial.suggest_categorical("sparsity_scope", ["global", "local"]),
        "steps": trial.suggest_int("sparsity_steps", 2, 5) if iterative else 1,
    }
    return PruneWeights.model_validate(choices | {"share": 0.5, "lr": 0.05})


def _quantize(trial: Trial) -> Quantize:
    excluded = [name for name in BLOCKS if trial.suggest_categorical(f"exclude_{name}", [False, True])]
    widths = {name: trial.suggest_categorical(f"width_{name}", [16, 32]) for name in excluded}
    return Quantize.model_validate({"exclude": widths})


def _published(growth_rate: int, choices: dict[str, Any]) -> dict[str, Any]:
    off = dict.fromkeys(["depthwise", "mixup", "prune_channels", "distill", "prune_weights", "int8"], False)
    depths = {f"{name}_layers": most for name, most in DEPTHS.items()}
    return {"growth_rate": growth_rate} | off | depths | choices


_INT8: dict[str, Any] = {"int8": True} | {f"exclude_{name}": False for name in BLOCKS}
_GROUPS: dict[str, Any] = {"groups_1x1": 2, "groups_3x3": 2}
_DEPTHWISE: dict[str, Any] = {"groups_1x1": 2, "depthwise": True}
_FROM_4: dict[str, Any] = {
    "distill": True,
    "teacher_growth_rate": 4,
    "temperature": 4.0,
    "distill_weight": 0.5,
}
_FROM_8: dict[str, Any] = _FROM_4 | {"teacher_growth_rate": 8}
_KEPT_OUT: dict[str, Any] = {
    f"{key}_{block}": value
    for block in ("stem", "dense1", "dense2", "trans3")
    for key, value in (("exclude", True), ("width", 16))
}


def _sparse(sparsity: float) -> dict[str, Any]:
    return {
        "prune_weights": True,
        "sparsity": sparsity,
        "sparsity_scope": "global",
        "weights_schedule": "iterative",
        "sparsity_steps": 5,
    }


# The eight published configurations of the MicroNet challenge on CIFAR-10 (2022), best score first.
ENQUEUE: list[dict[str, Any]] = [
    _published(4, _GROUPS | _FROM_4 | _sparse(0.651) | _INT8 | _KEPT_OUT),
    _published(4, _GROUPS | _FROM_8 | _INT8),
    _published(4, _DEPTHWISE | _FROM_8 | _sparse(0.32)),
    _published(4, _DEPTHWISE | _FROM_8),
    _published(4, _GROUPS | _sparse(0.3017)),
    _published(3, {}),
    _published(4, _GROUPS),
    _published(4, _GROUPS | _sparse(0.651)),
]
