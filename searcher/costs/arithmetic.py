"""Kinds of operations, and how many multiplications and additions each takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from searcher.costs.operators_table import BY_KIND, MOVE, OPERATORS

Sizes = tuple[int, ...]

MOVES = frozenset(name for row in OPERATORS if row.kind == MOVE for name in row.names.split())
"""Operators that make, view or copy a tensor. They are rows only where they bring several activations
together, or activations and parameters."""

LOOKUPS = frozenset(("index", "index_select", "gather"))
"""Kinds that pick from a tensor: an embedding, where that is a parameter and an activation says what."""

KINDS = {name: row.kind for row in OPERATORS if row.kind != MOVE for name in row.names.split()}
"""The kind of an operator, by its name without name space, overload, or the mark of an operation in place."""

WEIGHED = tuple(row.kind for row in OPERATORS if row.weighed)
"""Kinds that have weights, also where a module holds them in a buffer."""

SWALLOWED = frozenset(row.kind for row in OPERATORS if row.swallowed)
"""Kinds that a converted graph may have merged into the operation before."""


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of one execution.

    Attributes:
        multiplies: Multiplications, comparisons and exponentials.
        adds: Additions: n - 1 in a dot product of length n, one more for a bias.
        macs: Multiply-accumulates of convolutions and matrix products, without the bias.
        dot_length: K, the kernel's area times all the input channels, before it is divided by groups.
        groups: Groups of a convolution, else 1.
        bias: Whether a bias is added.
        transposed: Whether it is a transposed convolution, of whose dot products the lengths differ.
    """

    multiplies: int
    adds: int
    macs: int = 0
    dot_length: int = 0
    groups: int = 1
    bias: bool = False
    transposed: bool = False


def dot_products(count: int, length: int, *, groups: int = 1, bias: bool = False) -> Arithmetic:
    """So many dot products of a length, which is that of one group."""
    macs = count * length
    return Arithmetic(macs, macs - count + count * bias, macs, length * groups, groups, bias)


def convolution(
    input_sizes: Sizes,
    output_sizes: Sizes,
    weight: Sizes,
    *,
    groups: int,
    bias: bool,
    transposed: bool = False,
) -> Arithmetic:
    """A convolution; its weight is (out, in / groups, ...), transposed (in, out / groups, ...)."""
    outputs = math.prod(output_sizes)
    if not transposed:
        return dot_products(outputs, math.prod(weight[1:]), groups=groups, bias=bias)
    macs = math.prod(input_sizes) * math.prod(weight[1:])
    length = math.prod(weight[2:]) * weight[0]
    adds = max(macs - outputs, 0) + outputs * bias
    return Arithmetic(macs, adds, macs, length, groups, bias, transposed=True)


def elementwise(kind: str, output_sizes: Sizes) -> Arithmetic | None:
    """An operation whose cost is that of its output elements; None for another kind."""
    row = BY_KIND.get(kind)
    if row is None or row.each is None or row.step is not None:
        return None
    multiplies, adds = row.each
    count = math.prod(output_sizes)
    return Arithmetic(multiplies * count, adds * count)


def reduction(kind: str, output_sizes: Sizes, window: int) -> Arithmetic | None:
    """A pooling or a mean over windows of so many elements; None for another kind."""
    count = math.prod(output_sizes)
    return reduced(kind, count, count * window)


def reduced(kind: str, count: int, read: int) -> Arithmetic | None:
    """So many outputs, made of so many elements in all their windows together; None for another kind."""
    row = BY_KIND.get(kind)
    if row is None or row.each is None or row.step is None:
        return None
    steps = max(read - count, 0)
    (multiplies, adds), (more_multiplies, more_adds) = row.each, row.step
    return Arithmetic(multiplies * count + more_multiplies * steps, adds * count + more_adds * steps)


def adaptive_read(input_sizes: Sizes, output_sizes: Sizes, dims: int) -> int:
    """The elements that an adaptive pooling reads, over its last dimensions; windows may overlap."""
    pairs = list(zip(input_sizes[-dims:], output_sizes[-dims:], strict=True))
    read = [sum(-(-(i + 1) * n // out) - i * n // out for i in range(out)) for n, out in pairs]
    return math.prod(output_sizes[:-dims]) * math.prod(read)


def window_of(kernel: int | Sequence[int], dims: int = 2) -> int:
    """The volume of a pooling kernel, given as one size or as one a dimension."""
    sizes = [kernel] if isinstance(kernel, int) else list(kernel)
    return math.prod(sizes if len(sizes) > 1 else sizes * dims)
