"""The operations that an int8 conversion executes in integers, predicted."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from searcher.compression.engines.exclusions import excluded
from searcher.config.stages.int8 import Int8
from searcher.costs.op import Op
from searcher.costs.operators_table import listed, torchs


def _modules(names: Collection[str]) -> frozenset[Any]:
    return frozenset(name.removeprefix("nn.") for name in names if name.startswith("nn."))


def _functions(names: Collection[str]) -> frozenset[Any]:
    return frozenset(torchs(name) for name in names if not name.startswith("nn."))


_INT8, _BETWEEN = listed(lambda row: row.int8), listed(lambda row: row.int8_between)

MODULES = _modules(_INT8)
"""The modules of torch that run in integers."""

FUNCTIONS = _functions(_INT8)
"""The functions that run in integers."""

BETWEEN = _modules(_BETWEEN) | _functions(_BETWEEN)
"""Modules and functions of a known range: they run in integers between operations that do."""


SAME_CODES = ("cat", "max_pool", "avg_pool", "mean", "clamp", "upsample_nearest", "upsample_bilinear")
"""The kinds of operations that write codes in the scale in which they came."""


def quantized(
    modules: Mapping[str, nn.Module],
    ops: Sequence[Op],
    called: Mapping[int, Any],
    exclude: Mapping[str, int],
    asked: Int8 | None = None,
    returned: Collection[str] = (),
) -> list[Op]:
    """The rows with the widths that they will have.

    Args:
        modules: The network's modules by their paths.
        ops: Its operations in floating point.
        called: The function that each operation was called by, by its position.
        exclude: The width kept by a module, by its path.
        asked: The widths of codes; 8 bits where it is not given.
        returned: The operations, by name, whose outputs the network returns.
    """
    types = {name: type(module).__name__ for name, module in modules.items()}
    by = [types.get(op.name, called.get(i)) for i, op in enumerate(ops)]
    outer = [excluded(op.name, exclude) for op in ops]
    inside = [
        by[i] in MODULES or by[i] in FUNCTIONS if kept is None else False for i, kept in enumerate(outer)
    ]
    read = {producer for i, op in enumerate(ops) if inside[i] for producer in op.producers}
    for i, op in enumerate(ops):
        if outer[i] is None and op.producers and ((by[i] in BETWEEN and i in read) or _fused(op, by[i])):
            inside[i] = all(inside[producer] for producer in op.producers)
    rows = [
        _executed(op, exclude[kept] if (kept := outer[i]) else None, inside[i]) for i, op in enumerate(ops)
    ]
    if asked is None or not asked.narrow:
        return rows
    whole = [op.name in returned or by[i] in BETWEEN for i, op in enumerate(ops)]
    return _narrowed(ops, rows, inside, asked, _written(ops, asked, whole))


def _written(ops: Sequence[Op], asked: Int8, whole: Sequence[bool]) -> list[int]:
    """The bits of the codes that each row's output is quantized to, if it is.

    A ReLU, and a norm that a layer holds, write what the layer before them would; what keeps a scale
    shares it with all that it reads; what the network returns, and what has a known range, keeps 8.
    """
    widths: list[int] = []
    groups = list(range(len(ops)))

    def root(place: int) -> int:
        while groups[place] != place:
            place = groups[place]
        return place

    for i, op in enumerate(ops):
        follows = (op.kind == "relu" or op.folds_into is not None) and bool(op.producers)
        own = 8 if whole[i] else asked.widths(op.name).activations
        widths.append(widths[op.producers[0]] if follows else own)
        if follows or op.kind in SAME_CODES:
            for producer in op.producers:
                groups[root(i)] = root(producer)
    return [max(w for j, w in enumerate(widths) if root(j) == root(i)) for i in range(len(ops))]


def _narrowed(
    ops: Sequence[Op], rows: Sequence[Op], inside: Sequence[bool], asked: Int8, written: Sequence[int]
) -> list[Op]:
    """The rows, with the bits of their codes where they run in integers; an image has 8."""
    readers = Counter(producer for op in ops for producer in op.producers)
    found: list[Op] = []
    for op, row, own, integers in zip(ops, rows, written, inside, strict=True):
        first = op.producers[0] if op.producers else None
        joined = first is not None and (op.folds_into or (op.kind == "relu" and readers[first] == 1))
        if integers:
            read = max((written[producer] for producer in op.producers), default=8)
            row = replace(row, activation_bits=read, output_bits=own)
            weights = asked.widths(op.name).weights if row.weight_bits == 8 else row.weight_bits
            effective = weights if row.weight_bits == 8 else row.effective_bits
            bits = found[first].bits if joined and first is not None and inside[first] else own
            row = replace(row, weight_bits=weights, effective_bits=effective, bits=weights or bits)
        found.append(row)
    return found


def _executed(op: Op, kept: int | None, inside: bool) -> Op:
    bits = kept or (8 if inside else 32)
    # A normalisation in integers has weights in floating point.
    stored = None if op.weight_bits is None else 32 if inside and op.kind == "layer_norm" else bits
    return replace(
        op,
        weight_bits=stored,
        effective_bits=stored,
        bias_bits=kept or 32,
        activation_bits=bits,
        output_bits=bits,
        bits=stored or bits,
    )


def _fused(op: Op, by: Any) -> bool:
    """Whether it runs in integers only as a part of the layer before."""
    return by == "BatchNorm1d" and op.folds_into is not None
