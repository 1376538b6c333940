"""Refuses goals and bounds that nothing can satisfy."""

import math
from collections.abc import Iterator, Mapping, Sequence

from searcher.config.metric import Constraint, Objective
from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.execution.metrics import Range, ranges


def check_goals(study: Study) -> None:
    """Refuse a metric with two goals, bounds that exclude each other, and a bound that no value can reach.

    Raises:
        SearcherError: All that is wrong, a line a problem.
    """
    lines = [
        *_twice(study.objectives),
        *_contrary(study.constraints),
        *_beyond(study.constraints, ranges()),
    ]
    if lines:
        raise SearcherError("\n".join(lines))


def _twice(objectives: Sequence[Objective]) -> Iterator[str]:
    goals: dict[str, str] = {}
    for objective in objectives:
        before = goals.setdefault(objective.key, objective.goal)
        if before != objective.goal:
            yield f"objectives: {objective.key} is to be maximized and minimized: it can have one goal"
    for key in goals:
        same = [o for o in objectives if o.key == key and o.goal == goals[key]]
        if len(same) > 1:
            yield f"objectives: {key} is there {len(same)} times"


def _contrary(constraints: Sequence[Constraint]) -> Iterator[str]:
    for key in dict.fromkeys(c.key for c in constraints):
        lower = [c for c in constraints if c.key == key and c.binds and c.is_lower]
        upper = [c for c in constraints if c.key == key and c.binds and not c.is_lower]
        if lower and upper:
            low, high = max(lower, key=lambda c: c.bound), min(upper, key=lambda c: c.bound)
            if low.bound > high.bound:
                yield f"constraints: {low} and {high} exclude each other"


def _beyond(constraints: Sequence[Constraint], known: Mapping[str, Range]) -> Iterator[str]:
    for constraint in filter(lambda c: c.binds, constraints):
        low, high = known.get(constraint.metric, (-math.inf, math.inf))
        if not low <= constraint.bound <= high:
            meant = constraint.bound / 100
            hint = f": did you mean {_share(meant)}?" if high == 1 and low <= meant <= high else ""
            yield f"constraint {constraint}: {constraint.metric} is {_words(low, high)}{hint}"


def _words(low: float, high: float) -> str:
    if math.isinf(high):
        return f"{low:g} or more"
    return f"{high:g} or less" if math.isinf(low) else f"between {low:g} and {high:g}"


def _share(value: float) -> str:
    return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"
