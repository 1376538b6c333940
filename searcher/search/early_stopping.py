"""Multi-objective early stopping: which trials go on at a rung (MO-ASHA, Schmucker et al. 2021)."""

from collections.abc import Sequence

import numpy as np

from searcher.search.pareto import ranking


class Rungs:
    """The points of all trials at each rung, by which it is decided which go on.

    A trial is known by its ordinal, under which it may be tried several times. A point has what the trial is
    judged by, all of it to be minimised: its quality now, and what it will cost.

    A trial goes on where it is in the best `1 / reduction_factor` of its rung, by non-dominated rank and,
    within a rank, by crowding distance; and where nothing that came before dominates it: only what is
    dominated is known to lag behind.
    """

    def __init__(self, reduction_factor: int) -> None:
        self._factor = reduction_factor
        self._points: dict[int, dict[int, Sequence[float]]] = {}
        self._gone_on: set[tuple[int, int]] = set()

    def arrive(self, ordinal: int, level: int, point: Sequence[float]) -> bool:
        """A trial comes to a rung: whether it goes on."""
        points = self._points.setdefault(level, {})
        points[ordinal] = tuple(point)
        if (ordinal, level) in self._gone_on:
            return True
        ordinals = list(points)
        ranks, order = ranking(np.array(list(points.values())))
        place = ordinals.index(ordinal)
        goes_on = bool(ranks[place] == 0) or place in order[: len(points) // self._factor]
        if goes_on:
            self._gone_on.add((ordinal, level))
        return goes_on

    def restore(self, ordinal: int, points: dict[int, Sequence[float]], stopped: bool) -> None:
        """A trial of an earlier run: its point at every rung; where it was stopped, that was at the last."""
        for level, point in points.items():
            self._points.setdefault(level, {})[ordinal] = tuple(point)
            if not stopped or level < max(points):
                self._gone_on.add((ordinal, level))

    def promotable(self) -> tuple[int, int] | None:
        """The ordinal and rung of a trial that was stopped and is now among the best, higher rungs first."""
        for level in sorted(self._points, reverse=True):
            points = self._points[level]
            places = len(points) // self._factor
            waiting = [o for o in points if (o, level) not in self._gone_on]
            if not places or not waiting:
                continue
            ordinals = list(points)
            _, order = ranking(np.array(list(points.values())))
            for place in order[:places]:
                if ordinals[place] in waiting:
                    return ordinals[place], level
        return None

    def promote(self, ordinal: int, level: int) -> None:
        """Let a trial that was stopped at a rung go on from there."""
        self._gone_on.add((ordinal, level))
