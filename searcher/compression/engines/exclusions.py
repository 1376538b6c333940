"""Modules that are kept out of int8, at 16 or 32 bits."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from searcher.costs.counting.scope import INNER
from searcher.errors import SearcherError, unknown

_DTYPES = {16: torch.bfloat16, 32: torch.float32}


class KeptOut(nn.Module):
    """Runs a module in a floating-point type of its own; quantization does not look inside."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.rounds = False
        self.add_module(INNER, module.to(dtype))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own inputs and outputs, in float32."""
        inner = self.get_submodule(INNER)
        if not self.rounds:
            return _cast(inner(*_cast(args, self.dtype), **_cast(kwargs, self.dtype)), torch.float32)
        with _RoundedToBfloat16():
            return inner(*_rounded(args), **_rounded(kwargs))

    def compute_in_float32(self) -> None:
        """Leave bfloat16 arithmetic, in place, but round to bfloat16 what it would round."""
        self.rounds = self.dtype == torch.bfloat16
        self.float().dtype = torch.float32


class _RoundedToBfloat16(TorchFunctionMode):
    """Has every function return bfloat16 numbers, in float32."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _rounded(func(*args, **(kwargs or {})))


def _rounded(value: Any) -> Any:
    return _cast(_cast(value, torch.bfloat16), torch.float32)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """The same tensors, also those in a container, where they are floating point in another type."""
    return tree_map_only(Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x, value)


def check_exclusions(model: nn.Module, exclude: Mapping[str, int]) -> None:
    """Refuse exclusions that cannot be meant.

    Raises:
        SearcherError: A path that is not a module, one inside another, or a width that is not 16 or 32.
    """
    names = {name for name, _ in model.named_modules(remove_duplicate=False) if name}
    for name, bits in exclude.items():
        if name not in names:
            raise unknown("module", name, names)
        if bits not in _DTYPES:
            raise SearcherError(f"exclude: {name} can be kept at 16 or 32 bits, got {bits}")
        outer = next((other for other in exclude if name.startswith(f"{other}.")), None)
        if outer is not None:
            raise SearcherError(f"exclude: {name} is inside {outer}, which is excluded already")


def check_widths(model: nn.Module, bits: Collection[str], exclude: Mapping[str, int]) -> None:
    """Refuse widths of codes that cannot be meant.

    Args:
        model: The network.
        bits: The paths of the modules that have widths of their own.
        exclude: The width kept by a module, by its path.

    Raises:
        SearcherError: A path that is not a module, or one that is kept out.
    """
    names = {name for name, _ in model.named_modules(remove_duplicate=False) if name}
    for name in bits:
        if name not in names:
            raise unknown("module", name, names)
        outer = excluded(name, exclude)
        if outer is not None:
            raise SearcherError(f"bits: {name} is kept out by exclude, at {exclude[outer]} bits")


def keep_out(model: nn.Module, exclude: Mapping[str, int]) -> nn.Module:
    """The same model, in which the excluded modules are wrapped; a list's are wrapped one by one."""
    for name, bits in exclude.items():
        for path in _callable_paths(model, name):
            model.set_submodule(path, KeptOut(model.get_submodule(path), _DTYPES[bits]))
    return model


def _callable_paths(model: nn.Module, name: str) -> list[str]:
    """The module itself, or what a list of modules holds: a list has no forward to wrap."""
    module = model.get_submodule(name)
    if not isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [name]
    return [
        path for child, _ in module.named_children() for path in _callable_paths(model, f"{name}.{child}")
    ]


def excluded(name: str, exclude: Mapping[str, int]) -> str | None:
    """The path that keeps a module out, its own or one around it; None where it is to run in int8."""
    return next((outer for outer in exclude if f"{name}.".startswith(f"{outer}.")), None)
