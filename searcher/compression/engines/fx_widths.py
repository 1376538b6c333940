"""The operations that an int8 conversion executes in integers, predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.compression.engines.exclusions import excluded
from searcher.costs.op import Op

_MODULES = """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AvgPool1d AvgPool2d AvgPool3d BatchNorm2d
    BatchNorm3d Conv1d Conv2d Conv3d ELU Hardswish Hardtanh InstanceNorm1d InstanceNorm2d InstanceNorm3d
    LayerNorm LeakyReLU Linear MaxPool1d MaxPool2d MaxPool3d ReLU ReLU6
"""
MODULES = frozenset(_MODULES.split())
"""The modules of torch that run in integers."""

FUNCTIONS = frozenset((
    torch.add, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__,
    torch.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__,
    torch.cat, torch.matmul, torch.mean, Tensor.mean, torch.clamp, Tensor.clamp,
    F.relu, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh, F.hardtanh_, F.leaky_relu, F.elu, F.hardswish,
    F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.max_pool1d, F.max_pool2d, F.max_pool3d,
    F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d, F.interpolate,
    F.instance_norm, F.layer_norm, torch.conv1d, torch.conv2d, torch.conv3d, F.linear,
))  # fmt: skip
"""The functions that run in integers."""

BETWEEN = frozenset((
    "Hardsigmoid", "Sigmoid", "Softmax", "Tanh",
    F.hardsigmoid, F.sigmoid, torch.sigmoid, Tensor.sigmoid, F.tanh, torch.tanh, Tensor.tanh,
))  # fmt: skip
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
