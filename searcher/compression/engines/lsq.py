"""Learned step sizes (Esser et al. 2020): fake quantization whose scales are trained with the weights.

torch's `_LearnableFakeQuantize` does the same, but reads its scale on the host in every step, which no CUDA
graph can hold.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import ObserverBase

from searcher.compression.engines.fx_observers import ActivationObserver

LEAST_STEP = 2.0**-23
"""The least step, as torch's observers have it."""

_FRACTIONS = 40
"""Of a channel's range: so many steps are tried before training, evenly spaced."""


def quantized(values: Tensor, step: Tensor, least: int, largest: int, numbers: int) -> Tensor:
    """Values rounded to multiples of a step, from the least code to the largest.

    The gradient passes the rounding as if it were not there. That of the step is code − value / step, and the
    code alone where that is the least or the largest, divided by √(numbers · largest code).

    Args:
        values: In any floating-point type; the result is in float32.
        step: Of a shape that goes with the values.
        least: The least code.
        largest: The largest code.
        numbers: The numbers that share the step.
    """
    factor = 1 / math.sqrt(numbers * max(largest, 1))
    positive = step.abs().clamp(min=LEAST_STEP)
    found: Tensor = _Rounded.apply(values.float(), positive, least, largest, factor)  # type: ignore[no-untyped-call]
    return found


class _Rounded(torch.autograd.Function):
    """`quantized`, with the backward pass written out: a training spends most of its time in it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, step: Tensor, least: int, largest: int, factor: float) -> Tensor:
        scaled = values / step
        codes = scaled.clamp(least, largest).round_()
        ctx.save_for_backward(scaled, codes, step)
        ctx.ends = least, largest, factor
        return codes * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        scaled, codes, step = ctx.saved_tensors
        least, largest, factor = ctx.ends
        inside = (scaled >= least) & (scaled <= largest)
        of_step = (codes - scaled * inside).mul_(gradients[0]).sum_to_size(step.shape).mul_(factor)
        return gradients[0] * inside, of_step, None, None, None


class LearnedWeight(nn.Module):
    """A parametrization of a weight (outputs, ...) by codes with a learned step a channel, or one for all."""

    def __init__(self, weight: Tensor, largest: int, per: str) -> None:
        super().__init__()
        self.largest = largest
        self.numbers = weight[0].numel() if per == "channel" else weight.numel()
        rows = weight.detach().flatten(1) if per == "channel" else weight.detach().reshape(1, -1)
        self.step = nn.Parameter(best_step(rows, largest))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight in codes."""
        step = self.step.view(-1, *[1] * (weight.dim() - 1))
        return quantized(weight, step, -self.largest, self.largest, self.numbers)


def best_step(rows: Tensor, largest: int) -> Tensor:
    """The step (rows,) of the least squared error among even fractions of each row's range."""
    whole = (rows.abs().amax(1) / largest).clamp(min=LEAST_STEP)
    best, least = whole, torch.full_like(whole, math.inf)
    for place in range(1, _FRACTIONS + 1):
        step = whole * place / _FRACTIONS
        codes = (rows / step[:, None]).round().clamp(-largest, largest)
        error = (codes * step[:, None] - rows).square().sum(1)
        best, least = torch.where(error <= least, step, best), torch.minimum(error, least)
    return best.clamp(min=LEAST_STEP)


class LearnedActivation(ActivationObserver, ObserverBase):
    """An activation in codes with a learned step and the zero point that it was calibrated to have."""

    def __init__(self, scale: float, zero_point: int, quant_min: int, quant_max: int) -> None:
        super().__init__(dtype=torch.quint8)
        self.qscheme = torch.per_tensor_affine
        self.quant_min, self.quant_max = quant_min, quant_max
        self.zero_point = zero_point
        self.step = nn.Parameter(torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        """The activation (N, ...) in codes."""
        ends = self.quant_min - self.zero_point, self.quant_max - self.zero_point
        return quantized(x, self.step, *ends, x[0].numel())

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """The scale, float32 (1,), and the zero point, int (1,)."""
        scale = self.step.detach().cpu().abs().clamp(min=LEAST_STEP)
        return scale.reshape(1), torch.tensor([self.zero_point], dtype=torch.int)


class GivenSteps(ObserverBase):
    """The observer of a weight whose steps are known."""

    def __init__(self, steps: Tensor, largest: int) -> None:
        super().__init__(dtype=torch.qint8)
        self.qscheme = torch.per_channel_symmetric
        self.ch_axis = 0
        self.quant_min, self.quant_max = -largest, largest
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        """The weight, as it is."""
        return x

    def calculate_qparams(self, **_: Any) -> tuple[Tensor, Tensor]:
        """The scales, float32 (channels,), and the zero points."""
        return self.steps.abs().clamp(min=LEAST_STEP), torch.zeros(len(self.steps), dtype=torch.int)
