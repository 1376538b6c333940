"""The operations that an int8 conversion executes in integers, predicted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from searcher.compression.engines.exclusions import excluded
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


def quantized(
    modules: Mapping[str, nn.Module], ops: Sequence[Op], called: Mapping[int, Any], exclude: Mapping[str, int]
) -> list[Op]:
    """The rows with the widths that they will have.

    Args:
        modules: The network's modules by their paths.
        ops: Its operations in floating point.
        called: The function that each operation was called by, by its position.
        exclude: The width kept by a module, by its path.
    """
    types = {name: type(module).__name__ for name, module in modules.items()}
    by = [types.get(op.name, called.get(i)) for i, op in enumerate(ops)]
    outer = [excluded(op.name, exclude) for op in ops]
    inside = [
        by[i] in MODULES or by[i] in FUNCTIONS if kept is None else False for i, kept in enumerate(outer)
    ]
    read = {producer for i, op in enumerate(ops) if inside[i] for producer in op.producers}
    rows = []
    for i, op in enumerate(ops):
        if outer[i] is None and op.producers and ((by[i] in BETWEEN and i in read) or _fused(op, by[i])):
            inside[i] = all(inside[producer] for producer in op.producers)
        rows.append(_executed(op, exclude[kept] if (kept := outer[i]) else None, inside[i]))
    return rows


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
