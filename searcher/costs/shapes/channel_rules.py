"""Channel propagation rules of torch's functions."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from searcher.costs.operators_table import listed
from searcher.costs.shapes.channels import Channels, Origin, Other, whole
from searcher.costs.shapes.stand_in import Shape, shapes_in

CHANNELWISE = listed(lambda row: row.channelwise)
"""Functions of one activation that work on every channel by itself."""

BINARY = listed(lambda row: row.binary)
"""Functions of two activations that work on every channel by itself."""

REDUCTIONS = listed(lambda row: row.reductions)
"""Functions over dimensions that may be height and width."""

RESHAPES = listed(lambda row: row.reshapes)
"""Functions that may lay channels out anew."""


def origin(
    channels: Channels, func: Any, args: Sequence[Any], kwargs: dict[str, Any], output: Tensor
) -> Origin:
    """The channels of a function's output, by those of its inputs.

    What cannot be followed with certainty is lost; an output of no convolution's channels needs no care.
    """
    inputs = list(shapes_in([*args, kwargs]))
    name = getattr(func, "__name__", type(func).__name__).strip("_")
    if any(x.origin.prunable for x in inputs):
        found = _known(channels, name, inputs, args, kwargs, output)
        if found is not None:
            return found
        channels.lose(name, *(x.origin for x in inputs))
    return whole(int(output.shape[1]) if output.dim() > 1 else 0)


def _known(
    channels: Channels,
    name: str,
    inputs: Sequence[Shape],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    output: Tensor,
) -> Origin | None:
    others = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    first = inputs[0]
    if name in BINARY and len(inputs) == 2 and not others:
        return _binary(channels, first, inputs[1], output)
    if len(inputs) > 1 or (others and not (name == "prelu" and others[0].numel() == 1)):
        return None
    if name == "pad":
        return _padded(channels, first, kwargs.get("pad", args[1] if len(args) > 1 else None), output)
    if name in RESHAPES:
        return _reshaped(first, output)
    if name in ("getitem", *REDUCTIONS) and not _spatial(name, first, args, kwargs):
        return None
    known = name in CHANNELWISE | BINARY | REDUCTIONS or name in ("getitem", "prelu")
    return first.origin if known and _same_width(first, output) else None


def _same_width(x: Shape, output: Tensor) -> bool:
    return x.ndim > 1 and output.dim() > 1 and x.shape[:2] == output.shape[:2]


def _binary(channels: Channels, x: Shape, y: Shape, output: Tensor) -> Origin | None:
    if not (x.ndim == y.ndim == output.dim() and _same_width(x, output) and _same_width(y, output)):
        return None
    return channels.tie(x.origin, y.origin)


def _padded(channels: Channels, x: Shape, pad: Any, output: Tensor) -> Origin | None:
    if _same_width(x, output) and not any(pad[2 * (x.ndim - 2) :]):
        return x.origin
    if x.ndim != 4 or len(pad) != 6 or min(pad) < 0:
        return None
    channels.fix(x.origin)
    return Origin(((Other.PADDING, int(output.shape[1])),))


def _reshaped(x: Shape, output: Tensor) -> Origin | None:
    if x.origin.flat:
        return None
    if _same_width(x, output):
        return x.origin
    if output.dim() == 1 and x.shape[0] == 1 and x.shape.numel() == x.shape[1] == output.shape[0]:
        return x.origin
    flattened = output.dim() == 2 and output.shape[0] == x.shape[0] and x.ndim > 2
    return Origin(x.origin.parts, x.origin.summed, flat=True) if flattened else None


def _spatial(name: str, x: Shape, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether an index or a reduction leaves images and channels alone."""
    if name == "getitem":
        index = args[1]
        return (
            isinstance(index, tuple)
            and len(index) > 1
            and all(isinstance(i, slice) and i == slice(None) for i in index[:2])
        )
    dims = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    dims = [dims] if isinstance(dims, int) else dims or ()
    return bool(dims) and all(dim % x.ndim > 1 for dim in dims)
