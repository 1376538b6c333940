"""SwiftNet with channels pruned by encoder block, finetuned, rewound or begun anew; in 32, 16 or 8 bits."""

from typing import Any

from optuna import Trial

from searcher.recipe import Examined, PruneChannels, Quantize, Recipe, Stage, Teaching, Train

BLOCKS = {"first two": 2, "all four": 4}
PARTS = ("encoder", "laterals", "pyramid", "decoder", "head")
TRAINING: dict[str, Any] = {"optimizer": "adam", "weight_decay": 1e-4}


def suggest(trial: Trial, model: Examined) -> Recipe:
    """One recipe: which blocks lose how many channels, from which weights they go on, and the bits."""
    training = TRAINING | {
        "batch_size": model.batch_size,
        "lr": 5e-4 if model.model.pretrained else 2e-3,
        "colour": trial.suggest_categorical("colour", [0.0, 0.3]),
    }
    stages: list[Stage] = [Train(**training)]
    pruned = trial.suggest_categorical("pruned", ["none", *BLOCKS])
    if pruned in BLOCKS:
        stages.append(_pruned(trial, BLOCKS[pruned], training))
    bits = trial.suggest_categorical("bits", [32, 16, 8])
    if bits < 32:
        stages.append(Quantize(exclude=_kept_out(trial, model) if bits == 8 else _every(model)))
    return Recipe(model=model.model, stages=tuple(stages))


def _pruned(trial: Trial, blocks: int, training: dict[str, Any]) -> PruneChannels:
    ratios = [round(trial.suggest_float(f"ratio{n + 1}", 0.1, 0.7, step=0.1), 1) for n in range(blocks)]
    after = trial.suggest_categorical("after", ["finetune", "rewind", "reinitialize"])
    taught = trial.suggest_categorical("distill", [False, True])
    choices = {
        "ratio": 0.0,
        # The stem's channels are added to those of the first block.
        "ratios": {"encoder.stem": ratios[0]} | {f"encoder.block{n}": r for n, r in enumerate(ratios, 1)},
        "after": after,
        "teaching": Teaching() if taught else None,
    }
    return PruneChannels.model_validate(choices | training)


def _kept_out(trial: Trial, model: Examined) -> dict[str, Any]:
    return {"head": 32} if trial.suggest_categorical("exclude_head", [False, True]) else {}


def _every(model: Examined) -> dict[str, Any]:
    """All parts in 16 bits."""
    paths = [path for block in model.blocks.values() for path in block]
    return {part: 16 for part in PARTS if any(f"{path}.".startswith(f"{part}.") for path in paths)}


_FULL = {"colour": 0.0, "pruned": "none", "bits": 32}


def _half(pruned: str, after: str) -> dict[str, Any]:
    ratios = {f"ratio{n + 1}": 0.5 for n in range(BLOCKS[pruned])}
    return _FULL | {"pruned": pruned, "after": after, "distill": False} | ratios


# The published rows: the whole network, and half of some blocks' channels.
ENQUEUE = [
    _FULL,
    *(_half(pruned, after) for pruned in BLOCKS for after in ("finetune", "rewind", "reinitialize")),
    _FULL | {"bits": 8, "exclude_head": False},
]
