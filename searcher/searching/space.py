"""A space's function, held to what a suggestion must be: a recipe with stages, of parameters asked once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from searcher.config.catalog import ended
from searcher.config.recipe import Recipe
from searcher.errors import SearcherError

Suggest = Callable[[optuna.trial.BaseTrial], Recipe]
Asked = dict[str, BaseDistribution]


def guarded(suggest: Callable[[Any], object], path: Path) -> Suggest:
    """The same function, which refuses what cannot be meant instead of going on with it.

    Its errors are a SearcherError where it ends Python, does not return a recipe or one without a stage whose
    weights nobody gives, asks for a parameter twice with another range, or is given a value that is not in
    its range; and whatever else it raises.
    """

    @wraps(suggest)
    def watched(trial: optuna.trial.BaseTrial) -> Recipe:
        with _watching(trial):
            try:
                recipe = suggest(trial)
            except SystemExit as error:
                raise ended(path, error) from error
        if not isinstance(recipe, Recipe):
            raise SearcherError(f"suggest returned {recipe!r}, expected a Recipe")
        if not recipe.stages and not recipe.model.weights:
            raise SearcherError("suggest returned a recipe without stages: nothing would train its weights")
        return recipe

    return watched


@contextmanager
def _watching(trial: optuna.trial.BaseTrial) -> Iterator[None]:
    """Within it, what a trial is asked for is looked at before Optuna answers."""
    answer = getattr(trial, "_suggest", None)
    if answer is None:
        yield
        return
    asked: Asked = {}

    def look(name: str, distribution: BaseDistribution) -> Any:
        _check_once(name, asked.setdefault(name, distribution), distribution)
        # Of a trial with given parameters: a search's own may keep one whose range hangs on another.
        given = vars(trial).get("_params", {})
        if name in given:
            _check_in_range(name, given[name], distribution)
        return answer(name, distribution)

    vars(trial)["_suggest"] = look
    try:
        yield
    finally:
        del vars(trial)["_suggest"]


def _check_once(name: str, first: BaseDistribution, again: BaseDistribution) -> None:
    if first != again:
        raise SearcherError(f"parameter {name} is asked twice, as {words(first)} and as {words(again)}")


def _check_in_range(name: str, value: object, distribution: BaseDistribution) -> None:
    try:
        inside = distribution._contains(distribution.to_internal_repr(value))
    except (TypeError, ValueError):
        inside = False
    # Optuna would take "4" and True for numbers.
    choice = isinstance(distribution, CategoricalDistribution)
    if not inside or (not choice and isinstance(value, bool | str)):
        raise SearcherError(f"{name} = {value!r}, expected {words(distribution)}")


def check_kinds(every: list[Asked], path: Path) -> None:
    """Refuse a parameter that is of one kind in one suggestion, and of another in the next.

    Raises:
        SearcherError: Names the parameter.
    """
    known: Asked = {}
    for asked in every:
        for name, distribution in asked.items():
            first = known.setdefault(name, distribution)
            try:
                check_distribution_compatibility(first, distribution)
            except ValueError as error:
                text = f"parameter {name} is sometimes {words(first)}, sometimes {words(distribution)}"
                raise SearcherError(f"{path}: {text}") from error


def words(distribution: BaseDistribution) -> str:
    """A parameter's values in words."""
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(repr, distribution.choices))}"
    if isinstance(distribution, IntDistribution | FloatDistribution):
        kind = "a whole number" if isinstance(distribution, IntDistribution) else "a number"
        step = f" in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
        log = ", by its logarithm" if distribution.log else ""
        return f"{kind} from {distribution.low} to {distribution.high}{step}{log}"
    return repr(distribution)
