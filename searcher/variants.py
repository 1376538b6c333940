"""Trained networks that are worth a trial more, in the cheapest way that their space can quantize them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from searcher.curve import CURVE, read
from searcher.errors import SearcherError, TrialError
from searcher.front import Front
from searcher.hypervolume import added
from searcher.prefixes import Filled, Suggest, deciding, depths, other_values
from searcher.recipe import Recipe
from searcher.screen import Screen, Screened
from searcher.stages.distill import TEACHER
from searcher.stages.train import epochs_of
from searcher.study import Study

WORTH = 0.001
"""The hypervolume that a variant must add, as a share of the box that the front spans."""


@dataclass(frozen=True)
class Variant:
    """A network that a trial has trained on its way, quantized otherwise.

    Attributes:
        trial: The number of that trial.
        params: The parameters that suggest the variant's recipe.
        recipe: The digest of it.
        point: Its quality before int8 and its predicted cost, as `Screen.point` has them.
        feasible: Whether these satisfy the constraints on them.
    """

    trial: int
    params: dict[str, Any]
    recipe: str
    point: list[float]
    feasible: bool


class Variants:
    """Finds among the networks that are trained already the one that would extend the front most.

    What a trial has made after each of its trained stages is in the store: to measure it takes a small part
    of what it took to train. Its quality before int8 is known, its cost is predicted.
    """

    def __init__(self, study: Study, suggest: Suggest, screen: Screen, place: Callable[[int], Path]) -> None:
        self._study, self._suggest, self._screen, self._place = study, suggest, screen, place
        self._looked: dict[str, Screened] = {}
        self._heard: set[int] = set()
        self._networks: set[str] = set()
        self._tried: set[str] = set()
        self._open: list[Variant] = []

    def best(self, front: Front, trials: Sequence[FrozenTrial]) -> Variant | None:
        """The variant that was not tried and would extend the front most; None where none would."""
        if not (self._study.store and self._study.sampler.variants):
            return None
        for trial in trials:
            self._hear(trial)
        points = np.array([self._point(trial) for trial in front.trials])
        left = [v for v in self._open if v.recipe not in self._tried and (v.feasible or not front.feasible)]
        worths = {v.recipe: added(points, v.point) for v in left}
        self._open = [v for v in self._open if worths.get(v.recipe, 0.0) >= WORTH]
        return max(self._open, key=lambda v: worths[v.recipe], default=None)

    def _hear(self, trial: FrozenTrial) -> None:
        """Learn what a trial has tried, and once it is complete, which networks it has trained."""
        if trial.number in self._heard or "recipe" not in trial.user_attrs:
            return
        recipe = Recipe.model_validate(trial.user_attrs["recipe"])
        self._tried.add(recipe.digest())
        if trial.state.is_finished():
            self._heard.add(trial.number)
        if trial.state == TrialState.COMPLETE:
            for stages, quality in self._trained(trial.number, recipe):
                network = recipe.digest(stages)
                if network not in self._networks:
                    self._networks.add(network)
                    self._open.extend(self._variant(trial, network, stages, quality))

    def _trained(self, number: int, recipe: Recipe) -> Iterator[tuple[int, float]]:
        """The numbers of stages after which there was a trained network, and the accuracy that it had."""
        curve = read(self._place(number) / CURVE)
        accuracies = [point.accuracy for point in curve if point.epoch and point.stage != TEACHER]
        epochs = 0
        for count, stage in enumerate(recipe.stages[: depths(recipe)], 1):
            epochs += epochs_of(getattr(stage, "share", 0.0), self._study.budget.epochs)
            if 0 < epochs <= len(accuracies):
                # A last stage of several steps has more epochs than its share.
                quality = accuracies[-1 if count == depths(recipe) else epochs - 1]
                if not isnan(quality):
                    yield count, quality

    def _variant(self, trial: FrozenTrial, network: str, stages: int, quality: float) -> Iterator[Variant]:
        """The cheapest recipe that trains just this network, if the space has one."""
        params = deciding(self._suggest, trial.params, trial.distributions, stages)
        found = cheapest(params, lambda params: self._look(params, network, stages))
        if found and not found.screened.infeasible:
            predicted = found.screened.predicted
            expected = predicted | {objective.key: quality for objective in self._screen.quality}
            feasible = all(
                c.violation(expected[c.key]) <= 0 for c in self._study.constraints if c.key in expected
            )
            point = self._screen.point(quality, predicted)
            yield Variant(trial.number, found.params, found.recipe.digest(), point, feasible)

    def _look(self, params: Mapping[str, Any], network: str, stages: int) -> "Suggested | None":
        trial = Filled(dict(params))
        try:
            recipe = self._suggest(trial)
            if depths(recipe) != stages or recipe.digest(stages) != network:
                return None
            screened = self._screened(recipe)
        except (SearcherError, TrialError, ValueError):
            return None
        if not screened.predicted:
            return None
        cost = (float(bool(screened.infeasible)), *self._screen.point(0.0, screened.predicted))
        return Suggested(dict(trial.params), dict(trial.distributions), recipe, screened, cost)

    def _screened(self, recipe: Recipe) -> Screened:
        digest = recipe.digest()
        if digest not in self._looked:
            self._looked[digest] = self._screen.look(recipe)
        return self._looked[digest]

    def _point(self, trial: FrozenTrial) -> list[float]:
        predicted = self._screened(Recipe.model_validate(trial.user_attrs["recipe"])).predicted
        metrics = trial.user_attrs["metrics"]
        quality = next((metrics[objective.key] for objective in self._screen.quality), 0.0)
        return self._screen.point(quality, predicted)


@dataclass(frozen=True)
class Suggested:
    """What a space suggests where some parameters are given; `cost` is to be minimised."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    recipe: Recipe
    screened: Screened
    cost: tuple[float, ...]


def cheapest(
    params: Mapping[str, Any], look: Callable[[Mapping[str, Any]], Suggested | None]
) -> Suggested | None:
    """The cheapest recipe around given parameters, found by changing the others one at a time.

    Args:
        params: The parameters that stay as they are.
        look: What is suggested for some parameters; None where that is not wanted.
    """
    best = look(params)
    improved = best is not None
    while improved and best:
        improved = False
        for name in [name for name in best.params if name not in params]:
            if name not in best.params:
                continue  # an earlier change has put it out of the recipe
            for value in other_values(best.distributions[name], best.params[name]):
                found = look({**best.params, name: value})
                if found and found.cost < best.cost:
                    best, improved = found, True
                    break
    return best
