"""Multi-objective early stopping: which trials go on at a rung (MO-ASHA, Schmucker et al. 2021)."""

from collections.abc import Sequence

import numpy as np
import optuna

from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.execution.messages import Progress
from searcher.searching.pareto import ranking
from searcher.searching.records import PROMOTED_FROM, Ended, TrialRecord
from searcher.searching.screening import Screen
from searcher.searching.storage.trials import StoredTrials


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


class EarlyStopping:
    """Judges a study's trials at their rungs, and promotes those that were stopped there."""

    def __init__(self, study: Study, trials: StoredTrials, screen: Screen) -> None:
        self._trials, self._screen = trials, screen
        self._rungs = Rungs(study.early_stopping.reduction_factor)

    def restore(self, before: Ended) -> None:
        """Learn what was decided at the rungs under earlier drivers."""
        stopped = {trial.number for trial in before.stopped}
        for trial in self._trials.all():
            record = TrialRecord.of(trial)
            self._rungs.restore(record.ordinal, record.rungs, trial.number in stopped)

    def goes_on(self, trial: optuna.Trial, recipe: Recipe, at: Progress) -> bool:
        """Whether a trial that has come to a rung goes on: also one that cannot be judged."""
        made = self._screen.so_far(recipe, at.rung)
        if not made:
            return True
        point = self._screen.point(at.accuracy, made)
        self._trials.at_rung(trial, at.rung, point)
        return self._rungs.arrive(TrialRecord.of(trial).ordinal, at.rung, point)

    @property
    def promotable(self) -> bool:
        """Whether a trial that was stopped is now among the best of its rung."""
        return self._rungs.promotable() is not None

    def promote(self) -> bool:
        """Enqueue such a trial again, to go on from its rung; False where there is none."""
        found = self._rungs.promotable()
        if found is None:
            return False
        ordinal, level = found
        self._rungs.promote(ordinal, level)
        stopped = [t for t in self._trials.all() if TrialRecord.of(t).ordinal == ordinal][-1]
        self._trials.again(stopped.number, {PROMOTED_FROM: stopped.number})
        return True
