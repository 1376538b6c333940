"""Models of libraries that are installed beside: ``timm:NAME`` and ``torchvision:NAME``."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

from searcher.errors import SearcherError, first_line, unknown


def library_of(name: str) -> str | None:
    """The library of ``LIBRARY:NAME``; None where it is no library's."""
    library = name.partition(":")[0]
    return library if library in _MAKERS else None


def family(name: str) -> Callable[..., nn.Module]:
    """The function that makes a library's model, for a task's figures and the library's own arguments.

    Raises:
        SearcherError: The library is not installed, or has no such model.
    """
    library, _, model = name.partition(":")
    return _MAKERS[library](_installed(library, name), model)


def version(name: str) -> str:
    """The library's version and the model's name in it, which stand for the model's code."""
    library, _, model = name.partition(":")
    return f"{library} {getattr(_installed(library, name), '__version__', '')} {model}"


def _installed(library: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise SearcherError(f"model {name}: {library} is not installed: pip install {library}") from error


def _timm(timm: ModuleType, model: str) -> Callable[..., nn.Module]:
    _check_known("timm", model, timm.list_models())

    def make(in_chans: int, num_classes: int, pretrained: bool = False, **args: Any) -> nn.Module:
        fetched = pretrained and _has_values()
        with _fetching(f"timm:{model}", fetched):
            made: nn.Module = timm.create_model(
                model, pretrained=fetched, in_chans=in_chans, num_classes=num_classes, **args
            )
        return made

    return make


def _torchvision(torchvision: ModuleType, model: str) -> Callable[..., nn.Module]:
    zoo = importlib.import_module("torchvision.models")
    _check_known("torchvision", model, zoo.list_models())

    def make(num_classes: int, pretrained: bool = False, **args: Any) -> nn.Module:
        made: nn.Module = zoo.get_model(model, weights=None, num_classes=num_classes, **args)
        if pretrained and _has_values():
            with _fetching(f"torchvision:{model}", True):
                given = zoo.get_model_weights(model).DEFAULT.get_state_dict(progress=False)
            own = made.state_dict()
            # The layers that make the outputs may be of another number of classes.
            fitting = {n: v for n, v in given.items() if n in own and own[n].shape == v.shape}
            made.load_state_dict(fitting, strict=False)
        return made

    return make


_MAKERS: dict[str, Callable[[ModuleType, str], Callable[..., nn.Module]]] = {
    "timm": _timm,
    "torchvision": _torchvision,
}


def _check_known(library: str, model: str, known: list[str]) -> None:
    # A tag of pretrained weights may follow: resnet18.a1_in1k.
    if model.partition(".")[0] not in known:
        raise unknown(f"model of {library}", model, known)


def _has_values() -> bool:
    """Whether what is built now has values: no weights are fetched for shapes alone."""
    return torch.get_default_device().type != "meta"


@contextmanager
def _fetching(name: str, fetched: bool) -> Iterator[None]:
    """Within it, what keeps weights from being fetched is one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not fetched:
            raise
        raise SearcherError(
            f"{name}: its pretrained weights cannot be fetched ({first_line(error)}): "
            "do so on a machine with a network, or give a file with weights = ..."
        ) from error
