"""Choosing one trial of a study: the best, the knee of the front, a number, or what satisfies a condition."""

import math
import re
from collections.abc import Sequence

from optuna.trial import FrozenTrial

from searcher.config.metric import Constraint, named
from searcher.config.study import Study
from searcher.errors import SearcherError, unknown
from searcher.searching.pareto import distance, front
from searcher.searching.records import TrialRecord

_CONDITION = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=)\s*(\S+)\s*")


def pick(study: Study, trials: Sequence[FrozenTrial], choice: str) -> FrozenTrial:
    """Choose one of the complete trials.

    Args:
        study: The study that the trials are of.
        trials: Its complete trials.
        choice: ``best``, of what satisfies the study's constraints: the lowest cost where one of them bounds
            an objective that is maximized, else the best quality; ``knee``, the point of the front that is
            nearest to the best of every objective; a trial's number; or conditions such as ``top1>=0.90``,
            several with commas, among which is chosen in the same way. The first two satisfy the study's
            constraints. A number is the user's own choice. Conditions take the place of the constraints on
            the same metrics; the others hold where a trial satisfies all of them.

    Raises:
        SearcherError: No trial is complete, the choice is not understood, or nothing satisfies it: says what
            came nearest.
    """
    if not trials:
        raise SearcherError(f"{study.stored_name} has no complete trial to pick from")
    if choice.isdecimal():
        return _numbered(study, trials, choice)
    if choice == "best":
        return _best(study, trials, study.constraints)
    if choice == "knee":
        return _knee(study, _feasible(study, trials, study.constraints))
    bounds = _conditions(study, choice)
    named = {bound.key for bound in bounds}
    others = [c for c in study.constraints if c.key not in named]
    every = [*bounds, *others]
    met = any(distance(every, trial) <= 0 for trial in trials)
    return _best(study, trials, every if met else bounds)


def unsatisfied(study: Study, trial: FrozenTrial) -> str:
    """A line for a reader where a trial was picked that violates the study's constraints; else empty."""
    violated = study.violated(TrialRecord.of(trial).metrics)
    if not violated:
        return ""
    wanted = " and ".join(map(str, violated))
    return f"trial {trial.number} does not satisfy the study's {wanted}: {_figures(trial, violated)}"


def _numbered(study: Study, trials: Sequence[FrozenTrial], digits: str) -> FrozenTrial:
    number = digits.lstrip("0") or "0"
    found = [trial for trial in trials if str(trial.number) == number]
    if not found:
        known = ", ".join(str(trial.number) for trial in trials[:20])
        raise SearcherError(f"trial {number[:20]} of {study.stored_name} is not complete; complete: {known}")
    return found[0]


def _best(study: Study, trials: Sequence[FrozenTrial], bounds: Sequence[Constraint]) -> FrozenTrial:
    """The lowest cost within bounds where they say what quality is enough, else the best quality."""
    maximized = {objective.key for objective in study.objectives if objective.goal == "maximize"}
    enough = any(bound.is_lower and bound.key in maximized for bound in bounds)

    def order(trial: FrozenTrial) -> list[float]:
        losses = {o.key: o.sign * value for o, value in zip(study.objectives, trial.values, strict=True)}
        first, quality = cost(study, trial), [losses[key] for key in losses if key in maximized]
        best = [first, *quality] if enough else [*quality, first]
        return [*best, *losses.values(), trial.number]

    return min(_feasible(study, trials, bounds), key=order)


def _feasible(
    study: Study, trials: Sequence[FrozenTrial], bounds: Sequence[Constraint]
) -> Sequence[FrozenTrial]:
    """The trials within some bounds.

    Raises:
        SearcherError: There are none: says what came nearest.
    """
    feasible = [t for t in trials if distance(bounds, t) <= 0]
    if not feasible:
        nearest = sorted(trials, key=lambda t: distance(bounds, t))[:3]
        near = "; ".join(f"trial {t.number} with {_figures(t, bounds)}" for t in nearest)
        wanted = " and ".join(map(str, bounds))
        raise SearcherError(f"no trial of {study.stored_name} satisfies {wanted}; nearest: {near}")
    return feasible


def cost(study: Study, trial: FrozenTrial) -> float:
    """The first objective that is minimized; without one, the first of all, as a loss."""
    costs = [i for i, objective in enumerate(study.objectives) if objective.goal == "minimize"]
    return float(trial.values[costs[0]] if costs else -trial.values[0])


def _figures(trial: FrozenTrial, bounds: Sequence[Constraint]) -> str:
    metrics = TrialRecord.of(trial).metrics
    return ", ".join(f"{b.key} {metrics[b.key]:.5g}" for b in bounds)


def _knee(study: Study, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The nearest to the ideal point, with every objective scaled to the front's own range."""
    points = front(study, trials).trials
    columns = list(zip(*(trial.values for trial in points), strict=True))
    signs = [objective.sign for objective in study.objectives]

    def from_ideal(trial: FrozenTrial) -> float:
        scaled = []
        for value, column, sign in zip(trial.values, columns, signs, strict=True):
            span = max(column) - min(column)
            ideal = min(column) if sign > 0 else max(column)
            scaled.append(abs(value - ideal) / span if span else 0.0)
        return math.hypot(*scaled)

    return min(points, key=from_ideal)


def _conditions(study: Study, text: str) -> list[Constraint]:
    measured = [metric.key for metric in study.measured()]
    found = []
    for part in text.split(","):
        match = _CONDITION.fullmatch(part)
        if not match:
            raise SearcherError(
                f"--pick {text}: expected best, knee, a trial's number, or a condition such as top1>=0.90"
            )
        key = _key(match[1], measured)
        side = "at_least" if match[2] == ">=" else "at_most"
        found.append(_bound(key, side, match[3], text))
    return found


def _bound(key: str, side: str, value: str, text: str) -> Constraint:
    try:
        bounds = {side: float(value)}
    except ValueError as error:
        raise SearcherError(f"--pick {text}: {value!r} is not a number") from error
    if not math.isfinite(bounds[side]):
        raise SearcherError(f"--pick {text}: {value!r} is no bound, expected a finite number")
    return Constraint.model_validate(named(key).model_dump() | bounds)


def _key(name: str, measured: Sequence[str]) -> str:
    """A metric's key by its name; the variant may be left out where there is only one."""
    fitting = [key for key in measured if name in (key, key.partition(":")[0])]
    if len(fitting) > 1:
        raise SearcherError(f"--pick: {name} could be {' or '.join(fitting)}")
    if not fitting:
        raise unknown("metric measured by this study", name, measured)
    return fitting[0]
