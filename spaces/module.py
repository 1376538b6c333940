"""A space of any model: trained or finetuned, pruned, distilled from the original, sparse, int8 by blocks.

What cannot be done with the model is not in it; `searcher check` says what that is, and why.
"""

from collections.abc import Sequence
from typing import Any

from optuna import Trial

from searcher.recipe import Distill, Examined, PruneChannels, PruneWeights, Quantize, Recipe, Stage, Train

ENGINES = ("torch-pruning", "nni")
SCOPES = ("global", "local")
CRITERIA = ("l1", "l2", "fpgm", "activation")


def suggest(trial: Trial, model: Examined) -> Recipe:
    """One recipe of the study's model. A choice that is off suggests none of its parameters."""
    trains = not model.whole or trial.suggest_categorical("finetune", [False, True])
    engines = model.ways("prune_channels", ENGINES)
    ratio = round(trial.suggest_float("channels_ratio", 0.0, 0.7, step=0.1), 1) if engines else 0.0
    scopes = model.ways("prune_weights", SCOPES)
    sparsity = round(trial.suggest_float("sparsity", 0.0, 0.9, step=0.1), 1) if scopes else 0.0
    training: dict[str, Any] = {
        "optimizer": "adam",
        "weight_decay": 0.0,
        "batch_size": model.batch_size,
    }
    if trains or ratio or sparsity:
        rates = [5e-4, 1e-4] if model.model.pretrained else [2e-3, 5e-4]
        training["lr"] = trial.suggest_categorical("lr", rates)
    stages: list[Stage] = [Train(**training)] if trains else []
    if ratio:
        stages += _prune_channels(trial, model, engines, ratio, training)
    if sparsity:
        scope = trial.suggest_categorical("sparsity_scope", scopes)
        choices = {"sparsity": sparsity, "scope": scope, "share": 0.25}
        stages.append(PruneWeights.model_validate(choices | training))
    if model.can("quantize") and trial.suggest_categorical("int8", [False, True]):
        stages.append(_quantize(trial, model))
    return Recipe(model=model.model, stages=tuple(stages))


def _prune_channels(
    trial: Trial, model: Examined, engines: list[str], ratio: float, training: dict[str, Any]
) -> list[Stage]:
    """Fewer channels, then finetuned on the labels alone or on the outputs of the original as well."""
    distill = model.can("distill") and trial.suggest_categorical("distill", [False, True])
    choices = {
        "ratio": ratio,
        "criterion": trial.suggest_categorical("channels_criterion", CRITERIA),
        "engine": trial.suggest_categorical("channels_engine", engines),
        "share": 0.0 if distill else 0.5,
    }
    pruned = PruneChannels.model_validate(choices | training)
    if not distill:
        return [pruned]
    # With weights for all of its layers the original teaches as it came.
    teacher = Train(**training, share=0.0 if model.whole else 1.0)
    return [pruned, Distill(teacher=model.model, teacher_training=teacher, share=0.5, **training)]


def _quantize(trial: Trial, model: Examined) -> Quantize:
    kept_out = [
        name
        for name in model.blocks
        if name in model.kept_out or trial.suggest_categorical(f"exclude_{name}", [False, True])
    ]
    return Quantize(exclude={path: 32 for name in kept_out for path in model.blocks[name]})


def enqueue(model: Examined) -> list[dict[str, Any]]:
    """The network as it came, from which a search begins, and in int8."""
    off = _off(model)
    if not model.can("quantize"):
        return [off]
    return [off | {"int8": False}, exclusions(model, ())]


def exclusions(model: Examined, kept_out: Sequence[str]) -> dict[str, Any]:
    """The network as it came in int8, but for these blocks."""
    asked = [name for name in model.blocks if name not in model.kept_out]
    return _off(model) | {"int8": True} | {f"exclude_{name}": name in kept_out for name in asked}


def _off(model: Examined) -> dict[str, Any]:
    off: dict[str, Any] = (
        {"finetune": False} if model.whole else {"lr": 5e-4 if model.model.pretrained else 2e-3}
    )
    off |= {"channels_ratio": 0.0} if model.ways("prune_channels", ENGINES) else {}
    return off | ({"sparsity": 0.0} if model.ways("prune_weights", SCOPES) else {})
