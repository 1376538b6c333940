"""Model families by name: plain functions that return an ``nn.Module``."""

from collections.abc import Callable
from typing import Any

from torch import nn

from searcher.errors import SearcherError, unknown
from searcher.models.densenet import densenet
from searcher.models.resnet import resnet18, resnet20, resnet56

MODELS: dict[str, Callable[..., nn.Module]] = {
    "densenet": densenet,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet56": resnet56,
}


def build(name: str, args: dict[str, Any], *, in_channels: int, classes: int) -> nn.Module:
    """Build a model family's member for a task.

    Args:
        name: A key of `MODELS`.
        args: The family's own arguments, e.g. ``{"growth_rate": 4}``.
        in_channels: Channels of an input image.
        classes: Number of outputs.

    Raises:
        SearcherError: No such family, or arguments that it does not take.
    """
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    try:
        return MODELS[name](in_channels=in_channels, classes=classes, **args)
    except (TypeError, ValueError) as error:
        raise SearcherError(f"model {name!r} cannot be built with {args}: {error}") from error
