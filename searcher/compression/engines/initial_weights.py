"""Weights that a file gives a network to begin with: what may be in such a file, and what is refused."""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.engines import new_head, weights
from searcher.errors import SearcherError

_COUNTER = "num_batches_tracked"
_PREFIXES = ("module.", "_orig_mod.")
"""Of the names in a parallel training's state dict, and in that of a compiled network."""

_KEYS = ("state_dict", "model")
"""Under which a checkpoint may have its state dict."""

_SHOWN = 3
"""So many of a file's faults are named."""

_SPARSE = (
    "Sparse invariant checks are implicitly disabled",  # torch 2.11
    "Validating sparse tensor invariants because weights_only=True",  # torch 2.14
)
"""Warnings of reading a sparse tensor, which is refused all the same."""

EXPECTED = "expected a safetensors file, or a state dict that torch.save has written, of tensors alone"


def initialise(model: nn.Module, path: Path, outputs: Callable[[], Iterable[str]] = tuple) -> list[str]:
    """Load a network's weights from a file, in place.

    Args:
        model: The network; every parameter and buffer must be in the file, and nothing else.
        path: safetensors, or a state dict written by ``torch.save``, also under a key of `_KEYS` and with the
            prefix of a parallel or compiled training. Nothing in it is run.
        outputs: The names of the layers that make what the network returns. They stay as they are where the
            file has them for another number of classes.

    Returns:
        A line for each layer that stays as it is.

    Raises:
        SearcherError: The file cannot be read, or does not fit the network; names what differs first.
    """
    state = _fitting(_read(path), model)
    faults = list(_faults(state, model))
    new = new_head.other_classes(state, model, outputs()) if faults else {}
    if new:
        own = model.state_dict()
        state |= {name: value for name, value in own.items() if name.rpartition(".")[0] in new}
        faults = list(_faults(state, model))
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        shown = "; ".join(faults[:_SHOWN])
        raise SearcherError(f"weights {path}: does not fit the network: {shown}{more}")
    model.load_state_dict(state)
    return [new_head.words(layer, rows, model) for layer, rows in new.items()]


def _read(path: Path) -> Mapping[str, Any]:
    """The content of a file by name, whatever it is.

    Raises:
        SearcherError: Says what the file is.
    """
    try:
        kind = _kind(path)
    except OSError as error:
        raise SearcherError(f"weights {path}: {error.strerror or error}") from error
    reader = {_SAFETENSORS: weights.load, _SAVED: _saved, _PICKLE: _saved}.get(kind)
    if reader is None:
        raise SearcherError(f"weights {path}: is {kind}; {EXPECTED}")
    try:
        content = reader(path)
    except Exception as error:
        raise SearcherError(f"weights {path}: is {kind}, {_why(error)}; {EXPECTED}") from error
    found = _unwrapped(content) if isinstance(content, Mapping) else content
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise SearcherError(f"weights {path}: holds {_words(found)}; {EXPECTED}")
    return found


def _unwrapped(content: Mapping[Any, Any]) -> Any:
    """The state dict in a checkpoint; a network may have a child of its own that is called as a key is."""
    keys = [key for key in _KEYS if key in content and not isinstance(content[key], Tensor)]
    return content[keys[0]] if keys else content


_SAFETENSORS = "a safetensors file"
_SAVED = "a file of torch.save"
_PICKLE = "a pickle"


def _kind(path: Path) -> str:
    """A file's type in words, by its first bytes."""
    if path.is_dir():
        return "a folder"
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        return "an empty file"
    if head[:4] == b"PK\3\4":
        return _archive(path)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return _SAFETENSORS
    if head[:1] == b"\x80":
        return _PICKLE
    return "a text file" if _is_text(head) else "a file of another kind"


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except zipfile.BadZipFile:
        return "a damaged file of torch.save, or another zip archive"
    if "constants.pkl" in names:
        return "a TorchScript archive"
    return _SAVED if "data.pkl" in names else "a zip archive that torch.save has not written"


def _is_text(head: bytes) -> bool:
    try:
        return "\0" not in head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and b"\0" not in head


def _saved(path: Path) -> Any:
    with path.open("rb") as file, warnings.catch_warnings():
        for text in _SPARSE:
            warnings.filterwarnings("ignore", message=text, category=UserWarning)
        # A file that is open, for torch goes by the end of a file's name.
        return torch.load(file, weights_only=True, map_location="cpu")


def _why(error: Exception) -> str:
    """Why a file was not read, without the advice to run what is in it."""
    found = re.search(r"(?:GLOBAL|class|type) ([\w.]+\.[\w.]+)", str(error))
    return f"with a {found[1]} in it, which is never run" if found else "and cannot be read: it is damaged"


def _words(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Tensor):
        kind = (
            "a quantized" if value.is_quantized else "a sparse" if value.layout is not torch.strided else "a"
        )
        return f"{kind} tensor of {_type(value)} without values" if value.is_meta else f"{kind} tensor"
    if isinstance(value, int | float | complex):
        return "a number"
    return "nothing" if value is None else f"a {type(value).__name__}"


def _fitting(state: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """With the names of the network, and the counts of batches that a file may leave out."""
    expected = model.state_dict()
    forms = [dict(state)]
    for form in forms:  # which grows meanwhile
        for prefix in _PREFIXES:
            if form and all(name.startswith(prefix) for name in form):
                forms.append({name.removeprefix(prefix): value for name, value in form.items()})
    best = max(forms, key=lambda form: len(form.keys() & expected.keys()))
    counters = {name: value for name, value in expected.items() if name.endswith(_COUNTER)}
    return counters | best


def _faults(state: Mapping[str, Any], model: nn.Module) -> Iterator[str]:
    """The misfits of a file, a line each: what differs, what is missing, what is too much."""
    expected = {name: own for name, own in model.state_dict().items() if isinstance(own, Tensor)}
    for name, own in expected.items():
        fault = _fault(own, state[name], name) if name in state else None
        if fault:
            yield f"{name}: {fault}"
    missing, unknown = expected.keys() - state.keys(), state.keys() - model.state_dict().keys()
    for names, text in ((missing, "is missing"), (unknown, "is not in the network")):
        yield from (f"{name} {text}" for name in sorted(names))


def _fault(own: Tensor, given: Any, name: str) -> str | None:
    """One tensor's misfit, in words."""
    sizes = f"a tensor of {_sizes(own)}"
    if (
        not isinstance(given, Tensor)
        or given.is_quantized
        or given.layout is not torch.strided
        or given.is_meta
    ):
        return f"{_words(given)}, expected {sizes}"
    if given.shape != own.shape:
        return f"size mismatch: {_sizes(given)}, expected {_sizes(own)}"
    if _field(given) != _field(own) and not name.endswith(_COUNTER):
        return f"of type {_type(given)}, expected {_type(own)}"
    bad = int((~given.to(own.dtype).isfinite()).sum())
    if bad and own.isfinite().all():
        return f"{bad:,} of {given.numel():,} values are not finite in {_type(own)}"
    return None


def _field(tensor: Tensor) -> str:
    """Of which numbers a tensor is: any width of them will do."""
    if tensor.is_complex():
        return "complex"
    return "real" if tensor.is_floating_point() else "truth" if tensor.dtype is torch.bool else "whole"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _sizes(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"
