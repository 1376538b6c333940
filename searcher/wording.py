"""Counts, figures, distances and durations in words."""

import math
from collections.abc import Mapping
from typing import Any

_QUALITY = ("top1", "map", "map50", "map75", "map_small", "map_medium", "map_large")
_RECALL = ("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large")
_PIXELS = ("miou", "iou", "pixel_accuracy")
SHARES = frozenset((*_QUALITY, *_RECALL, *_PIXELS, "sparsity"))
"""The metrics between 0 and 1, whose differences are said in points."""

EXACT = 200.0
"""The decibels that are stored of what is equal."""


def several(count: int, name: str) -> str:
    """A count with its noun: ``1 trial``, ``3 trials``, ``2 studies``, ``2 classes``."""
    if count == 1:
        return f"1 {name}"
    if name.endswith("y"):
        return f"{count} {name[:-1]}ies"
    return f"{count} {name}{'es' if name.endswith('s') else 's'}"


def is_share(key: str) -> bool:
    """Whether a metric's figure is a share between 0 and 1, by its key, ``map:person`` too."""
    return key.partition(":")[0] in SHARES


def off(key: str, value: float, wanted: float) -> str:
    """A distance in words: of shares in points, of others as a part of what is wanted.

    Args:
        key: The metric's.
        value: What there is.
        wanted: A bound, or what was expected.
    """
    distance = abs(value - wanted)
    if is_share(key):
        return f"{_two(100 * distance)} points"
    return f"{_two(100 * distance / abs(wanted))} % of {wanted:.4g}" if wanted else f"{distance:.4g}"


def _two(number: float) -> str:
    """Two decimals; never a zero for what is none."""
    return "less than 0.01" if 0 < number < 0.005 else f"{number:,.2f}"


def number(value: float) -> str:
    """A figure with as many digits as a reader needs: 0.0167, 0.9004, 70,922."""
    if value and abs(value) < 0.1:
        return f"{value:.5f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"


def spread(value: float, off: float) -> str:
    """A tolerance or a deviation, with as many decimals as the figure itself has."""
    places = len(number(value).partition(".")[2])
    return f"{off:,.{places}f}"


def kernels(ran: Mapping[str, Any]) -> str:
    """The kernels of int8 figures: ``onednn, AVX512, 32-bit sums``."""
    return f"{ran['engine']}, {ran['instructions']}, {ran['sum_bits']}-bit sums"


def fidelity(ran: Mapping[str, Any]) -> str:
    """The distance of an int8 network's outputs from exact arithmetic on its own codes, in words."""
    return f"{ran['decibels']:.1f} dB" if ran["decibels"] < EXACT else "exact"


def so_far(stage: str, epoch: int, epochs: int, accuracy: float) -> str:
    """Where a training is: ``train 3/12, validation 0.9123``; a stage without epochs by its name."""
    reached = "" if math.isnan(accuracy) else f", validation {number(accuracy)}"
    return f"{stage} {epoch}/{epochs}{reached}" if epoch else f"{stage}{reached}"


def duration(seconds: float | None) -> str:
    """Seconds as a reader wants them: ``42 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
