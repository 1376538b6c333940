"""Elements, zeros and widths of tensors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 4

NARROW = 64
"""The largest code of an int8 weight on a machine whose kernels add two products in 16 bits."""


@dataclass(frozen=True)
class Count:
    """The parameters of a row; a complex element is two numbers.

    Attributes:
        weights: Numbers in tensors with several dimensions.
        nonzero: Those that are not zero.
        biases: Numbers in vectors, and numbers alone.
        blocks: Of one sparse matrix, the 4×4 blocks that hold a non-zero, and all of them.
    """

    weights: int = 0
    nonzero: int = 0
    biases: int = 0
    blocks: tuple[int, int] | None = None


def count(tensor: Tensor) -> Count:
    """The numbers in one tensor."""
    every = numbers(tensor)
    if tensor.dim() <= 1:
        return Count(biases=every)
    nonzero = _nonzero(tensor)
    return Count(every, nonzero, 0, _blocks(tensor) if nonzero < every else None)


def numbers(tensor: Tensor) -> int:
    """The number of real numbers that a tensor holds."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def total(counts: Sequence[Count]) -> Count:
    """The elements of several tensors; there are blocks where one of them alone has weights."""
    matrices = [c for c in counts if c.weights]
    return Count(
        sum(c.weights for c in counts),
        sum(c.nonzero for c in counts),
        sum(c.biases for c in counts),
        matrices[0].blocks if len(matrices) == 1 else None,
    )


def density(held: Sequence[Tensor]) -> float:
    """Non-zeros among the weights that are executed; 1 without any."""
    matrices = [t for t in held if t.dim() > 1]
    elements = sum(map(numbers, matrices))
    return sum(_nonzero(t) for t in matrices) / elements if elements else 1.0


def widths(
    held: Sequence[Tensor],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    narrow: Mapping[Tensor, int] | None = None,
    *,
    dynamic: bool = False,
) -> dict[str, Any]:
    """The fields of a row that are widths, in bits. Integers and truth values have none of their own.

    Args:
        held: The parameters that it reads.
        inputs: The activations that it reads.
        outputs: What it writes.
        narrow: The widths of activations whose codes have fewer bits than their type.
        dynamic: Whether it quantizes what it reads to the width of its weights.
    """
    matrices = [t for t in held if t.dim() > 1]
    stored = max(map(bits, matrices), default=None)
    either = _widest(inputs, narrow) or _widest(outputs) or stored or 32
    written = _widest(outputs) or either
    int8 = any(t.is_quantized for t in (*inputs, *outputs))
    return {
        "weight_bits": stored,
        "effective_bits": max(map(code_width, matrices), default=None),
        "bias_bits": max((bits(t) for t in held if t.dim() <= 1), default=32 if int8 else either),
        "activation_bits": stored if dynamic and stored else either,
        "output_bits": written,
        "bits": stored or written,
    }


def code_width(weight: Tensor) -> int:
    """The smallest signed width, in bits, that holds a quantized weight's codes; else that of its type.

    Codes up to `NARROW` are those of 8 bits where sums have 16: a score is the same on every machine.
    """
    if not weight.is_quantized:
        return bits(weight)
    codes = weight.int_repr().int()
    if int(codes.abs().max()) == NARROW:
        return 8
    return max(int(codes.max()), -int(codes.min()) - 1, 0).bit_length() + 1


def bits(tensor: Tensor) -> int:
    """The width of an element, of each part of a complex one."""
    return tensor.dtype.itemsize * 8 // (2 if tensor.is_complex() else 1)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors among arguments or results, also those inside lists, tuples and dictionaries."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Tensor))


def leaves(value: Any) -> Iterator[Any]:
    """All that is in lists, tuples and dictionaries, one by one.

    `torch.utils._pytree` does not look into subclasses of them, in which libraries return what a model makes.
    """
    if isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        yield from leaves(list(value.values()))
    else:
        yield value


def _widest(tensors: Sequence[Tensor], narrow: Mapping[Tensor, int] | None = None) -> int | None:
    known = {} if narrow is None else narrow
    valued = [t for t in tensors if t.is_quantized or t.is_floating_point() or t.is_complex()]
    return max((known[t] if t in known else bits(t) for t in valued), default=None)


def _nonzero(weight: Tensor) -> int:
    if weight.is_meta:
        return numbers(weight)
    return int(_values(weight).count_nonzero())


def _values(weight: Tensor) -> Tensor:
    """A weight as it is stored: codes, real numbers, both parts of complex ones beside each other."""
    if weight.is_quantized:
        return weight.int_repr()
    return torch.view_as_real(weight.resolve_conj()) if weight.is_complex() else weight


def _blocks(weight: Tensor) -> tuple[int, int]:
    """Of the weight as a matrix, a row an output: the blocks that hold a non-zero, and all of them."""
    matrix = (_values(weight).flatten(1) != 0).float()[None]
    held = nn.functional.max_pool2d(matrix, BLOCK, ceil_mode=True)
    return int(held.sum()), held.numel()
