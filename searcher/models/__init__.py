"""Model families by name: plain functions that return an ``nn.Module``."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from searcher.config import catalog
from searcher.config.given import called, digest, is_given
from searcher.errors import SearcherError, unknown
from searcher.models import given, libraries
from searcher.models.densenet import densenet
from searcher.models.gated import gated
from searcher.models.inverted import inverted
from searcher.models.mobilenet import mobilenet_v1, mobilenet_v2
from searcher.models.resnet import resnet18, resnet20, resnet56
from searcher.models.ssd import ssd_mobilenet_v1, ssd_mobilenet_v2
from searcher.models.swiftnet import swiftnet
from searcher.models.tiny_resnet import tiny_resnet
from searcher.models.yolo import yolo

Family = Callable[..., nn.Module]

MODELS: dict[str, Family] = {
    "densenet": densenet,
    "gated": gated,
    "inverted": inverted,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "ssd_mobilenet_v1": ssd_mobilenet_v1,
    "ssd_mobilenet_v2": ssd_mobilenet_v2,
    "swiftnet": swiftnet,
    "tiny_resnet": tiny_resnet,
    "yolo": yolo,
}

OTHERWISE = {"in_channels": ("in_chans",), "classes": ("num_classes", "n_classes")}
"""Other names under which a function may take the figures that a task gives its models."""


def build(name: str, args: dict[str, Any], *, in_channels: int, classes: int) -> nn.Module:
    """Build a model family's member for a task.

    Args:
        name: A key of `MODELS`, ``pkg.mod:function``, or ``timm:NAME`` and ``torchvision:NAME``, which begin
            with the library's weights where the arguments say `pretrained`; or what `config.given` names.
        args: The family's own arguments, e.g. ``{"growth_rate": 4}``.
        in_channels: Channels of an input image, for a function that takes them, also as ``in_chans``.
        classes: Number of outputs, for a function that takes it, also as ``num_classes`` or ``n_classes``.

    Raises:
        SearcherError: No such family, or arguments that it does not take.
    """
    family = _family(name)
    try:
        model = family(**_taken(family, {"in_channels": in_channels, "classes": classes}, args), **args)
    except SearcherError:
        raise
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SearcherError(f"model {called(name)!r} cannot be built with {args}: {reason}") from error
    if not isinstance(model, nn.Module):
        raise SearcherError(f"model {called(name)!r}: expected a torch.nn.Module, got {type(model).__name__}")
    return model


def code(name: str) -> str:
    """The text of the file in which a family is written, and of those beside it that it takes from.

    Raises:
        SearcherError: No such family.
    """
    if libraries.library_of(name):
        return libraries.version(name)
    if is_given(name):
        return digest(name)
    family = _family(name)
    module = inspect.getmodule(family)
    if module is None:
        return inspect.getsource(family)
    modules = [module]
    for one in modules:  # which grows meanwhile
        names = [getattr(value, "__module__", None) for value in vars(one).values()]
        others = [sys.modules[name] for name in dict.fromkeys(names) if name in sys.modules]
        modules += [other for other in others if _beside(module, other) and other not in modules]
    return "\n".join(map(inspect.getsource, modules))


def _beside(module: ModuleType, other: ModuleType) -> bool:
    """Whether another module's file is in the same folder."""
    files = (getattr(module, "__file__", None), getattr(other, "__file__", None))
    return all(files) and Path(str(files[0])).parent == Path(str(files[1])).parent


def _family(name: str) -> Family:
    if libraries.library_of(name):
        return libraries.family(name)
    if is_given(name):
        return given.family(name)
    family = catalog.function(name) if ":" in name else MODELS.get(name)
    if family is None:
        raise unknown("model", name, MODELS)
    return family


def renamed(name: str) -> list[str]:
    """The names under which a function takes what a task says, where they are not the usual ones.

    Raises:
        SearcherError: No such family.
    """
    usual = dict.fromkeys(OTHERWISE, 0)
    return [key for key in _taken(_family(name), usual, {}) if key not in usual]


def _taken(family: Family, task: dict[str, int], args: dict[str, Any]) -> dict[str, int]:
    """A task's figures by a function's names for them; an unusual one may be an argument instead."""
    parameters = inspect.signature(family).parameters
    taken = {}
    for key, value in task.items():
        others = [other for other in OTHERWISE[key] if other in parameters]
        if key in parameters:
            taken[key] = value
        elif others and not any(other in args for other in others):
            taken[others[0]] = value
    return taken
