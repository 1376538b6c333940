"""The front: the feasible non-dominated trials of a study."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from optuna.study._multi_objective import _fast_non_domination_rank
from optuna.trial import FrozenTrial

from searcher.config.metric import Constraint
from searcher.config.study import Study
from searcher.searching.records import TrialRecord
from searcher.wording import off


@dataclass(frozen=True)
class Front:
    """Non-dominated trials, best quality first.

    Where no trial is feasible yet, `feasible` is False and the front ignores the constraints.
    """

    trials: list[FrozenTrial]
    feasible: bool


def front(study: Study, trials: Sequence[FrozenTrial]) -> Front:
    """The front of complete trials; of several with the same recipe and the same values the first."""
    trials = list({_same(t): t for t in reversed(trials)}.values())[::-1]
    feasible = [t for t in trials if violation(study, t) <= 0]
    chosen = feasible or trials
    if not chosen:
        return Front([], feasible=False)
    signs = np.array([o.sign for o in study.objectives])
    best = non_dominated(np.array([t.values for t in chosen]) * signs)
    ordered = sorted((chosen[i] for i in best), key=lambda t: tuple(signs * np.array(t.values)))
    return Front(ordered, feasible=bool(feasible))


def _same(trial: FrozenTrial) -> str:
    record = TrialRecord.of(trial)
    return f"{record.stored_recipe if record.has_recipe else trial.number} {trial.values}"


def non_dominated(costs: np.ndarray) -> list[int]:
    """The rows of costs (points, objectives), all to be minimised, that no other row dominates.

    A point dominates another where it is no worse in everything and better in something; of equal points
    all are kept.
    """
    no_worse = (costs[:, None] <= costs[None]).all(2)
    better = (costs[:, None] < costs[None]).any(2)
    return [int(i) for i in np.flatnonzero(~(no_worse & better).any(0))]


def violation(study: Study, trial: FrozenTrial) -> float:
    """The largest violation of a constraint, as a share of its bound; 0 or less is feasible."""
    return distance(study.constraints, trial)


def distance(bounds: Sequence[Constraint], trial: FrozenTrial) -> float:
    """The largest violation of one of the bounds, as a share of it; 0 or less satisfies them all."""
    metrics = TrialRecord.of(trial).metrics
    return max((b.violation(metrics[b.key]) / (abs(b.bound) or 1) for b in bounds if b.binds), default=0.0)


def missed(study: Study, trial: FrozenTrial) -> str:
    """The constraints that a complete trial violates, and by how much; empty where it violates none."""
    metrics = TrialRecord.of(trial).metrics
    broken = study.violated(metrics)
    return ", ".join(f"{bound} by {off(bound.key, metrics[bound.key], bound.bound)}" for bound in broken)


def ranking(points: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The non-dominated rank of every row, and the rows from the best to the worst.

    Args:
        points: (points, objectives), all to be minimised.

    Returns:
        The ranks, 0 for what nothing dominates; and the order by rank, then by crowding distance (Deb et
        al. 2002), the loneliest first.
    """
    ranks = _fast_non_domination_rank(points.astype(float))
    lonely = np.zeros(len(points))
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        lonely[members] = crowding(points[members])
    return ranks, [int(i) for i in np.lexsort((-lonely, ranks))]


def crowding(points: np.ndarray) -> np.ndarray:
    """The crowding distance of each row among rows of the same rank; infinite at the ends."""
    distance = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance
