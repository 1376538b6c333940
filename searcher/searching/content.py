"""A digest of a Python object's content that is the same in the next process: of its code and its values."""

import copyreg
import hashlib
import inspect
import io
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

_OF_THE_FILE = ("__firstlineno__", "__static_attributes__")
"""Attributes of a class that tell where its code stands, not what it does."""


def digest(value: Any) -> str:
    """The digest, 16 hex digits.

    It is of all that is pickled of the object, and of the files of a network's classes that other processes
    import. Where code stands, and whether a network is in training mode, are not in it.

    Raises:
        Exception: The object cannot be pickled.
    """
    found = hashlib.sha256(_stable(value))
    for text in _sources(value):
        found.update(text.encode())
    return found.hexdigest()[:16]


def _stable(value: Any) -> bytes:
    content = io.BytesIO()
    _Stable(content).dump(value)
    return content.getvalue()


class _Stable(cloudpickle.Pickler):  # type: ignore[misc]
    """A pickler without what differs from process to process: addresses, lines, names that are drawn."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return tuple, (_tensor(value),)
        if isinstance(value, CodeType):
            return tuple, (_code(value),)
        if isinstance(value, nn.Module):
            own = {key: _ordered(one) for key, one in vars(value).items() if key != "training"}
            return copyreg.__newobj__, (type(value),), own  # type: ignore[attr-defined]
        reduced = super().reducer_override(value)
        if isinstance(value, type) and isinstance(reduced, tuple) and len(reduced) > 2:
            return _class(value, reduced)
        if isinstance(value, FunctionType) and isinstance(reduced, tuple):
            return _function(reduced)
        return reduced


def _tensor(tensor: Tensor) -> tuple[object, ...]:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    about = (str(tensor.dtype), *tensor.shape, tensor.requires_grad)
    return (*about, hashlib.sha256(values.data).hexdigest())


def _code(code: CodeType) -> tuple[object, ...]:
    constants = [_ordered(one) for one in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, code.co_flags, code.co_argcount, code.co_kwonlyargcount, *names, constants)


def _ordered(value: Any) -> Any:
    return sorted(map(repr, value)) if isinstance(value, set | frozenset) else value


def _class(value: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    make, args, (own, slots), *rest = reduced
    # Among the arguments is an id that is drawn.
    args = tuple(arg for arg in args if not isinstance(arg, str) or arg == value.__name__)
    return (make, args, ({k: v for k, v in own.items() if k not in _OF_THE_FILE}, slots), *rest)


def _function(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    make, (code, _, *free), (own, slots), *rest = reduced
    # The second argument has the file; the submodules are those that happen to be loaded.
    kept = {key: one for key, one in slots.items() if key != "_cloudpickle_submodules"}
    return (make, (code, {}, *free), (own, kept), *rest)


def _sources(value: Any) -> Iterator[str]:
    """The text of the files that a network's classes are imported from, torch's apart."""
    kinds = {type(module) for module in value.modules()} if isinstance(value, nn.Module) else set()
    for name in sorted({kind.__module__ for kind in kinds} - {"__main__"}):
        module = sys.modules.get(name)
        if isinstance(module, ModuleType) and name.partition(".")[0] != "torch":
            try:
                yield inspect.getsource(module)
            except (OSError, TypeError):  # it has no file
                continue
