"""Attributes of a stored trial, read with care: what of them is missing or damaged."""

import math
from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from searcher.config.recipe import Recipe
from searcher.errors import SearcherError
from searcher.wording import several


def recipe_of(trial: FrozenTrial) -> Recipe:
    """A trial's recipe.

    Raises:
        SearcherError: It was not kept, or is none.
    """
    if "recipe" not in trial.user_attrs:
        raise SearcherError(f"trial {trial.number} is damaged: its recipe is missing")
    try:
        return Recipe.model_validate(trial.user_attrs["recipe"])
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise SearcherError(
            f"trial {trial.number} is damaged or of another version: its recipe is none"
            f"{f', at {where}' if where else ''}"
        ) from error


def damage(trial: FrozenTrial) -> str:
    """The damage of a complete trial in words; empty where it is whole, and of other trials."""
    if trial.state != TrialState.COMPLETE:
        return ""
    metrics = trial.user_attrs.get("metrics")
    if not isinstance(metrics, dict) or not all(map(_is_figure, metrics.values())):
        return "its metrics are missing"
    absent = {text.partition(" ")[0] for text in trial.constraints} - metrics.keys()
    if absent:
        return f"it lacks {', '.join(sorted(absent))}"
    if not trial.values:
        return "its values are missing"
    try:
        recipe_of(trial)
    except SearcherError:
        return "its recipe is missing"
    return ""


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def whole(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials that are not damaged."""
    return [t for t in trials if t.state == TrialState.COMPLETE and not damage(t)]


def damaged(trials: Sequence[FrozenTrial]) -> str:
    """The damaged trials in one line; empty where there are none."""
    found = {t.number: said for t in trials if (said := damage(t))}
    if not found:
        return ""
    some = "; ".join(f"trial {number}: {said}" for number, said in list(found.items())[:3])
    more = "; …" if len(found) > 3 else ""
    return f"{several(len(found), 'trial')} damaged ({some}{more})"
