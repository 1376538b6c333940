"""Batch norms folded into the layers before them, in a network that keeps its modules."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from searcher.costs.counting.recorder import record


@torch.no_grad()
def fold_norms(model: nn.Module, example: Tensor, exclude: Collection[str] = ()) -> dict[str, str]:
    """Move the scale and the shift of batch norms into the layers before them, in place.

    A norm that is folded adds its bias and does no more: to fold it again changes no bit of the weights.
    The outputs of the network stay what they were, but for rounding.

    Args:
        model: The network in floating point, on the CPU and in eval mode.
        example: An input; only its shape matters.
        exclude: The paths of modules that are left alone, with what is in them.

    Returns:
        The path of each norm, by that of the layer that it is folded into.
    """
    modules = dict(model.named_modules())
    ops = record(model, example[:1])
    calls = Counter(op.name for op in ops)
    folded = {}
    for op in ops:
        layer, norm = modules.get(op.folds_into or ""), modules.get(op.name)
        once = calls[op.name] == 1 and calls[op.folds_into or ""] == 1
        left = any(f"{op.name}.".startswith(f"{path}.") for path in exclude)
        held = isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) and _is_norm(norm)
        if once and not left and held and op.folds_into:
            _fold(layer, norm)
            folded[op.folds_into] = op.name
    return folded


def _is_norm(module: nn.Module | None) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None


def _fold(layer: Any, norm: Any) -> None:
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale * norm.weight if norm.affine else scale
    shift = 0 if layer.bias is None else layer.bias
    bias = (shift - norm.running_mean) * scale + (norm.bias if norm.affine else 0)
    layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
    if not norm.affine:
        norm.affine = True
        norm.weight, norm.bias = (nn.Parameter(torch.empty_like(bias)) for _ in range(2))
    norm.weight.fill_(1)
    norm.bias.copy_(bias)
    norm.running_mean.zero_()
    norm.running_var.copy_(_unit(norm.eps))
    if layer.bias is not None:
        layer.bias.zero_()


def _unit(eps: float) -> Tensor:
    """The variance that is 1 when eps is added to it."""
    variance = torch.tensor(1 - eps)
    for _ in range(4):
        if float(variance + eps) == 1:
            break
        variance = torch.nextafter(variance, torch.tensor(2.0 if float(variance + eps) < 1 else 0.0))
    return variance
