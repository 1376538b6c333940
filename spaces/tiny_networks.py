"""The networks of the space `tiny` alone, trained for a short while, to find those worth a long training."""

from typing import Any

from optuna import Trial

from searcher.config import catalog
from searcher.recipe import Model, Quantize, Recipe, Train

TINY = catalog.load(catalog.find("spaces", "tiny"))
BATCH = 512


def suggest(trial: Trial) -> Recipe:
    """One network in int8, trained in large batches with what suits its family."""
    family = trial.suggest_categorical("family", TINY.FAMILIES)
    model = Model(name=family, args=TINY.arguments(trial, family))
    adam = trial.suggest_categorical("optimizer", ["sgd", "adamw"]) == "adamw"
    training = Train(
        optimizer="adamw" if adam else "sgd",
        lr=trial.suggest_float("adamw_lr", 2e-3, 3e-2, log=True)
        if adam
        else trial.suggest_float("sgd_lr", 0.1, 1.0, log=True),
        weight_decay=0.02 if adam else 5e-4,
        batch_size=BATCH,
    )
    return Recipe(model=model, stages=(training, Quantize()))


_SGD: dict[str, Any] = {"optimizer": "sgd", "sgd_lr": 0.3}
_ADAM: dict[str, Any] = {"optimizer": "adamw", "adamw_lr": 1e-2}


_USUAL: dict[str, dict[str, Any]] = {
    "gated": {"kernels": "5", "activation": "hardswish", "norms": "block", "squeeze_excite": False},
    "inverted": {"strides": "1-2-2", "expansion": 4, "kernel": 3, "activation": "hardswish", "norms": "all"}
    | {"squeeze_excite": True},
    "tiny_resnet": {"activation": "relu", "norms": "all", "projection": True, "squeeze_excite": True},
}


def _network(
    family: str, width: int, growth: float, depths: tuple[int, ...], **others: Any
) -> dict[str, Any]:
    sizes = {"width": width, "growth": growth, "stem_stride": 2}
    sizes |= {f"depth{i + 1}": depth for i, depth in enumerate(depths)}
    found: dict[str, Any] = TINY.of(family, sizes | _USUAL[family] | others)
    return found


ENQUEUE: list[dict[str, Any]] = [
    _network("gated", 28, 2.0, (3, 3)) | _ADAM,
    _network("gated", 28, 2.0, (3, 3), squeeze_excite=True) | _ADAM,
    _network("gated", 28, 2.0, (3, 3), kernels="3") | _ADAM,
    _network("gated", 28, 2.0, (2, 4), kernels="7") | _ADAM,
    _network("gated", 32, 2.0, (2, 3), norms="all") | _ADAM,
    _network("gated", 28, 2.0, (3, 3), norms="none") | _ADAM,
    _network("gated", 12, 2.0, (2, 3), stem_stride=1, kernels="3") | _ADAM,
    _network("inverted", 16, 1.5, (2, 3, 3)) | _ADAM,
    _network("inverted", 16, 1.5, (2, 3, 3)) | _SGD,
    _network("inverted", 12, 2.0, (2, 3, 3), kernel=5) | _ADAM,
    _network("inverted", 12, 2.0, (2, 3, 3), norms="block") | _ADAM,
    _network("inverted", 16, 1.5, (2, 3, 3), squeeze_excite=False) | _ADAM,
    _network("inverted", 8, 2.0, (1, 2, 3), stem_stride=1, strides="1-2-2") | _ADAM,
    _network("tiny_resnet", 14, 2.0, (2, 2, 1)) | _SGD,
    _network("tiny_resnet", 14, 2.0, (2, 2, 1)) | _ADAM,
    _network("tiny_resnet", 16, 1.5, (2, 2, 2)) | _SGD,
    _network("tiny_resnet", 8, 2.0, (1, 2, 2), stem_stride=1) | _SGD,
]
"""Networks of every family whose scores are near one another, with one thing changed at a time."""
