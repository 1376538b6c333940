"""The hypervolume that points dominate, and what one more adds to it."""

from collections.abc import Sequence

import numpy as np
from optuna._hypervolume import compute_hypervolume

MARGIN = 0.1
"""The margin of the box beyond the worst values, as a share of each range."""


def added(points: np.ndarray, point: Sequence[float]) -> float:
    """The hypervolume that one more point adds, as a share of the box that all of them span.

    Args:
        points: (points, objectives), all to be minimised.
        point: The one more.
    """
    if len(points) and (points <= np.array(point)).all(1).any():
        return 0.0
    every = np.vstack([points, point]) if len(points) else np.array([point])
    span = np.ptp(every, 0)
    scaled = (every - every.min(0)) / np.where(span > 0, span, 1)
    reference = np.full(scaled.shape[1], 1 + MARGIN)
    before = compute_hypervolume(scaled[:-1], reference) if len(points) else 0.0
    return max(0.0, float(compute_hypervolume(scaled, reference) - before) / float(np.prod(reference)))


def dominated(points: np.ndarray, counted: np.ndarray, reference: np.ndarray) -> list[float]:
    """The hypervolume that the points up to each one dominate.

    Args:
        points: (points, objectives), all to be minimised, in their order.
        counted: (points,) Booleans; another point adds nothing.
        reference: (objectives,) The worst corner.
    """
    front, volume, volumes = np.empty((0, points.shape[1])), 0.0, []
    for point, counts in zip(points, counted, strict=True):
        if counts and not (front <= point).all(1).any():
            front = np.vstack([front[(front < point).any(1)], point])
            volume = float(compute_hypervolume(front, reference))
        volumes.append(volume)
    return volumes


def alone(points: np.ndarray) -> np.ndarray:
    """The contribution of each point to the others, as `added` has it.

    Args:
        points: (points, objectives), all to be minimised.
    """
    return np.array([added(np.delete(points, i, 0), point) for i, point in enumerate(points)])
