"""Cross-layer equalization (Nagel et al. 2019): two layers' channels are given equal ranges, before int8."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from searcher.costs.counting.recorder import record
from searcher.costs.op import Op

SWEEPS = 10
"""Over all pairs: a layer between two others is in two of them."""

TOLERANCE = 1e-5
"""The largest difference of the outputs, as a share of their largest, that is rounding."""

_BETWEEN = ("relu", "leaky_relu", "max_pool", "avg_pool", "mean", "pad")
"""Kinds of operations that pass a positive scale of a channel on."""

_LAYERS = nn.Conv2d | nn.Linear


@torch.no_grad()
def equalize(model: nn.Module, folded: dict[str, str], images: Tensor) -> list[tuple[str, str]]:
    """Equalize the ranges of channels between layers that follow one another without a branch, in place.

    The network's outputs stay what they were. A pair in which they would not is left alone.

    Args:
        model: The network in floating point, on the CPU and in eval mode, with folded norms.
        folded: The path of each norm, by that of the layer that it is folded into.
        images: Some images (N, C, H, W).

    Returns:
        The pairs that are equalized, by path.
    """
    wanted = model(images)
    layers: Any = dict(model.named_modules())
    kept = []
    for first, second in list(_pairs(record(model, images[:1]), layers, set(folded.values()))):
        norm = layers[folded[first]] if first in folded else None
        tensors = [t for m in (layers[first], layers[second], norm) if m is not None for t in m.parameters()]
        before = [tensor.clone() for tensor in tensors]
        _scale(layers[first], layers[second], norm)
        if _parts(model(images), wanted):
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)
        else:
            kept.append((first, second))
    for _ in range(SWEEPS - 1):
        for first, second in kept:
            _scale(layers[first], layers[second], layers[folded[first]] if first in folded else None)
    return kept


def _pairs(ops: Sequence[Op], layers: dict[str, Any], norms: set[str]) -> Iterator[tuple[str, str]]:
    """Layers by path, with the one alone that reads what they write, and reads nothing else."""
    readers = Counter(producer for op in ops for producer in op.producers)
    calls = Counter(op.name for op in ops)
    for op in ops:
        second = layers.get(op.name)
        if not isinstance(second, _LAYERS) or calls[op.name] > 1:
            continue
        row = op
        while len(row.producers) == 1 and readers[row.producers[0]] == 1:
            row = ops[row.producers[0]]
            first = layers.get(row.name)
            if isinstance(first, _LAYERS):
                if calls[row.name] == 1 and _goes_with(first, second):
                    yield row.name, op.name
                break
            if row.kind not in _BETWEEN and row.name not in norms:
                break


def _goes_with(first: Any, second: Any) -> bool:
    """Whether each output of one layer is one input of another."""
    inputs = second.in_channels if isinstance(second, nn.Conv2d) else second.in_features
    groups = second.groups if isinstance(second, nn.Conv2d) else 1
    return len(first.weight) == inputs and groups in (1, inputs) and len(second.weight) >= groups


def _scale(first: Any, second: Any, norm: Any) -> None:
    """Divide the outputs of a layer by what makes ranges equal, and multiply the inputs of the next by it."""
    # Of a depthwise layer a row is a channel; its inputs may have several outputs each.
    depthwise = getattr(second, "groups", 1) > 1
    columns = second.weight.view(len(first.weight), -1) if depthwise else second.weight.transpose(0, 1)
    one, other = first.weight.flatten(1).abs().amax(1), columns.flatten(1).abs().amax(1)
    scale = torch.where((one > 0) & (other > 0), (one / other).sqrt(), torch.ones_like(one))
    first.weight.div_(scale.view(-1, *[1] * (first.weight.dim() - 1)))
    for bias in (first.bias, None if norm is None else norm.bias):
        if bias is not None:
            bias.div_(scale)
    if depthwise:
        scale = scale.repeat_interleave(len(second.weight) // len(scale))
        second.weight.mul_(scale.view(-1, *[1] * (second.weight.dim() - 1)))
    else:
        second.weight.mul_(scale.view(1, -1, *[1] * (second.weight.dim() - 2)))


def _parts(found: Any, wanted: Any) -> bool:
    """Whether outputs differ by more than rounding."""
    if isinstance(wanted, Tensor):
        return not bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max().clamp(min=1))
    return any(_parts(one, other) for one, other in zip(found, wanted, strict=True))
