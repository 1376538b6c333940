"""Schedules of a learning rate: a factor of it for each step."""

import math
from collections.abc import Callable, Mapping

from searcher.config.stages.base import Schedules

WARM_UP_SHARE = 0.1
"""Of a training's steps: those in which the learning rate rises, before a cosine or a line."""

RISE_SHARE, FIRST, LAST = 0.3, 1 / 25, 1 / 25e4
"""Of one cycle: the share of the steps in which it rises, and where it begins and ends."""


def schedule(name: Schedules, steps: int) -> Callable[[int], float]:
    """The factor of the learning rate in each of so many steps."""
    return SCHEDULES[name](steps)


def _cosine(steps: int) -> Callable[[int], float]:
    return _warmed_up(steps, lambda done: 0.5 * (1 + math.cos(math.pi * done)))


def _linear(steps: int) -> Callable[[int], float]:
    return _warmed_up(steps, lambda done: 1 - done)


def _warmed_up(steps: int, falling: Callable[[float], float]) -> Callable[[int], float]:
    """A linear rise, then a function of the share of the rest that is done."""
    warm = max(1, round(WARM_UP_SHARE * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return falling((step - warm) / max(1, steps - warm))

    return factor


def _step(steps: int) -> Callable[[int], float]:
    return lambda step: 1.0 if 2 * step < steps else 0.1 if 4 * step < 3 * steps else 0.01


def _constant(steps: int) -> Callable[[int], float]:
    return lambda step: 1.0


def _one_cycle(steps: int) -> Callable[[int], float]:
    """A cosine up, and one down, as torch's `OneCycleLR` has them."""
    top, end = RISE_SHARE * steps - 1, steps - 1

    def factor(step: int) -> float:
        if step < top:
            return _between(FIRST, 1.0, step / top)
        return _between(1.0, LAST, (step - top) / (end - top))

    return factor


def _between(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


SCHEDULES: Mapping[Schedules, Callable[[int], Callable[[int], float]]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    "constant": _constant,
    "one-cycle": _one_cycle,
}
"""All schedules by name: from the number of steps to the factor in each."""
