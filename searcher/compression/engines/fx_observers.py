"""The observers of activations and of weights, by name."""

from typing import Any

import torch
from torch import Tensor
from torch.ao.quantization import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)


class ActivationObserver:
    """The range of an activation as uint8 codes, with an even zero point where it has 8 bits.

    Some kernels round before they add the zero point, others after. Halves become the even number: with an
    odd zero point not the same one, and the mean of four codes is often a half.

    Mixed into an observer of torch, which finds the range.
    """

    quant_min: int
    quant_max: int

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        scale, zero_point = super()._calculate_qparams(min_val, max_val)  # type: ignore[misc]
        if int(zero_point) % 2 and self.quant_max == 255:
            codes = self.quant_max - self.quant_min
            scale = scale * codes / (codes - 2)  # leaves room for the zero point to move
            zero_point = (2 * (-min_val / scale / 2).ceil()).to(zero_point)
        return scale, zero_point

    def narrow(self, bits: int) -> None:
        """Leave codes of so many bits, before anything is observed."""
        self.quant_max = self.quant_min + 2**bits - 1


class LeastAndLargest(ActivationObserver, MinMaxObserver):
    """The least and the largest value."""


class MovingAverage(ActivationObserver, MovingAverageMinMaxObserver):
    """Moving averages, over batches, of the least and of the largest value."""


class Histogram(ActivationObserver, HistogramObserver):
    """The range in which a histogram of all values loses least by rounding."""

    def narrow(self, bits: int) -> None:
        """Leave codes of so many bits, before anything is observed."""
        super().narrow(bits)
        self.dst_nbins = 2**bits


class Percentile(ActivationObserver, HistogramObserver):
    """The range that holds the middle of all values, by their histogram.

    Args:
        percent: Of the values that are below its upper end, and above its lower end.
        given: As `HistogramObserver` takes it.
    """

    def __init__(self, percent: float = 99.99, **given: Any) -> None:
        super().__init__(**given)
        self.percent = percent

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        """The range, from the histogram's bins; a bin's values lie evenly in it."""
        total = self.histogram.sum()
        below = torch.cat([self.histogram.new_zeros(1), self.histogram.cumsum(0)]) / total
        edges = torch.linspace(float(self.min_val), float(self.max_val), len(below), device=below.device)
        share = self.percent / 100
        return _at(1 - share, below, edges), _at(share, below, edges)


def _at(share: float, below: Tensor, edges: Tensor) -> Tensor:
    """The value below which a share of all values lies."""
    place = int(torch.searchsorted(below, torch.tensor(share, dtype=below.dtype))) or 1
    place = min(place, len(below) - 1)
    width = below[place] - below[place - 1]
    within = (share - below[place - 1]) / width if width else 0.0
    return torch.lerp(edges[place - 1], edges[place], within)


class OneScale(PerChannelMinMaxObserver):
    """The same scale for all channels of a weight; kernels and files have one a channel all the same."""

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        least, largest = min_val.min().expand_as(min_val), max_val.max().expand_as(max_val)
        found: tuple[Tensor, Tensor] = super()._calculate_qparams(least, largest)
        return found


ACTIVATIONS: dict[str, Any] = {
    "minmax": LeastAndLargest,
    "moving_average": MovingAverage,
    "histogram": Histogram,
    "percentile": Percentile,
}
"""The observers of activations, by name."""


def activations(name: str, percent: float) -> Any:
    """The maker of an observer of activations."""
    more = {"percent": percent} if name == "percentile" else {}
    return ACTIVATIONS[name].with_args(dtype=torch.quint8, **more)


def weights(per: str, largest: int) -> Any:
    """The maker of an observer of weights, with codes up to a largest one on both sides of zero.

    Args:
        per: ``channel`` or ``tensor``.
        largest: The largest code.
    """
    observer: Any = PerChannelMinMaxObserver if per == "channel" else OneScale
    scheme = torch.per_channel_symmetric
    return observer.with_args(dtype=torch.qint8, qscheme=scheme, quant_min=-largest, quant_max=largest)
