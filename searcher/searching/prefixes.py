"""New recipes that begin as trained ones do: which of a trial's parameters decide its first stages."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from searcher.compression.stages import stored_stages
from searcher.config.recipe import Recipe

Suggest = Callable[[optuna.trial.BaseTrial], Recipe]


def depths(recipe: Recipe) -> int:
    """The number of a recipe's first stages that can be stored."""
    return stored_stages(recipe)


def deciding(
    suggest: Suggest, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], stages: int
) -> dict[str, Any]:
    """The parameters of a trial that decide its model and its first stages.

    A space is a function that says nothing of itself, so every parameter is tried with other values: it
    decides where the beginning of the recipe changes.

    Args:
        suggest: The space.
        params: The trial's parameters.
        distributions: From which each was drawn.
        stages: How many stages are to stay as they are.
    """
    wanted = suggest(Filled(dict(params))).digest(stages)
    kept = {}
    for name, value in params.items():
        others = other_values(distributions[name], value)
        if any(_changes(suggest, {**params, name: other}, stages, wanted) for other in others):
            kept[name] = value
    return kept


def _changes(suggest: Suggest, params: dict[str, Any], stages: int, wanted: str) -> bool:
    try:
        return suggest(Filled(params)).digest(stages) != wanted
    except Exception:  # a value that cannot be had without another one
        return True


def other_values(distribution: BaseDistribution, value: Any) -> Iterator[Any]:
    """Values that a parameter might have had instead: all of a few choices, the ends of a range."""
    if isinstance(distribution, CategoricalDistribution):
        every: tuple[Any, ...] = distribution.choices
    elif isinstance(distribution, IntDistribution | FloatDistribution):
        every = (distribution.low, distribution.high)
    else:
        every = ()
    return (other for other in every if other != value)


class Filled(optuna.trial.FixedTrial):
    """A trial of given parameters; one that is missing takes the first of its values."""

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._params:
            if isinstance(distribution, CategoricalDistribution):
                self._params[name] = distribution.choices[0]
            elif isinstance(distribution, IntDistribution | FloatDistribution):
                self._params[name] = distribution.low
        return super()._suggest(name, distribution)
