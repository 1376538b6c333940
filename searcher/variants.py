"""Trained networks that are worth a trial more, in the cheapest way that their space can quantize them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
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
from searcher.screen import Screen
from searcher.stages.distill import TEACHER
from searcher.stages.train import epochs_of
from searcher.study import Study

VARIANTS = "variants.json"
"""In a trial's folder: what was found of the networks that it has trained."""

WORTH = 0.001
"""The hypervolume that a variant must add, as a share of the box that the front spans."""


@dataclass(frozen=True)
class Variant:
    """A network that a trial has trained on its way, quantized otherwise.

    Attributes:
        trial: The number of that trial.
        params: The parameters that suggest the variant's recipe.
        recipe: The digest of it.
        point: Its expected quality and its predicted cost, as `Screen.point` has them.
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
    of what it took to train. Its accuracy is in the trial's curve, its cost is predicted. What was found of a
    trial is kept in its folder, so that a driver that starts again does not predict it all anew.
    """

    def __init__(self, study: Study, suggest: Suggest, screen: Screen, place: Callable[[int], Path]) -> None:
        self._study, self._suggest, self._screen, self._place = study, suggest, screen, place
        self._looked: dict[str, Looked] = {}
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
        points = np.array([point for trial in front.trials for point in self._point(trial)])
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
            networks = {network.digest: network for network in self._trained(trial, recipe)}
            new = [network for digest, network in networks.items() if digest not in self._networks]
            self._networks |= networks.keys()
            self._open += self._kept(trial, new)

    def _trained(self, trial: FrozenTrial, recipe: Recipe) -> Iterator["Network"]:
        """The networks that a trial had after its stages, each with the quality that is expected of it."""
        curve = read(self._place(trial.number) / CURVE)
        accuracies = [point.accuracy for point in curve if point.epoch and point.stage != TEACHER]
        if not accuracies or isnan(accuracies[-1]):
            return
        # What is measured is another figure than what a training reports (AP, AP50), or it is so after int8.
        measured = self._measured(trial)
        factor = measured / accuracies[-1] if accuracies[-1] else 1.0
        epochs = 0
        for count, stage in enumerate(recipe.stages[: depths(recipe)], 1):
            epochs += epochs_of(getattr(stage, "share", 0.0), self._study.budget.epochs)
            if count == depths(recipe):
                # A last stage of several steps has more epochs than its share.
                yield Network(recipe.digest(count), count, measured)
            elif 0 < epochs <= len(accuracies):
                yield Network(recipe.digest(count), count, factor * accuracies[epochs - 1])

    def _kept(self, trial: FrozenTrial, networks: Sequence["Network"]) -> list[Variant]:
        """What was found of a trial's networks, or is found now."""
        folder = self._place(trial.number)
        with suppress(FileNotFoundError):
            return [Variant(**variant) for variant in json.loads((folder / VARIANTS).read_text())]
        found = [variant for network in networks for variant in self._variant(trial, network)]
        if networks and folder.is_dir():
            part = folder / f"{VARIANTS}.part"
            part.write_text(json.dumps([asdict(variant) for variant in found], indent=1))
            part.replace(folder / VARIANTS)
        return found

    def _variant(self, trial: FrozenTrial, network: "Network") -> Iterator[Variant]:
        """The cheapest recipe that trains just this network, if the space has one."""
        params = deciding(self._suggest, trial.params, trial.distributions, network.stages)
        found = cheapest(params, lambda params: self._look(params, network))
        if found and not found.looked.infeasible:
            predicted = found.looked.predicted
            expected = predicted | {objective.key: network.quality for objective in self._screen.quality}
            feasible = all(
                c.violation(expected[c.key]) <= 0 for c in self._study.constraints if c.key in expected
            )
            point = self._screen.point(network.quality, predicted)
            yield Variant(trial.number, found.params, found.recipe.digest(), point, feasible)

    def _look(self, params: Mapping[str, Any], network: "Network") -> "Suggested | None":
        trial = Filled(dict(params))
        try:
            recipe = self._suggest(trial)
        except Exception:  # values that cannot be had together
            return None
        if depths(recipe) != network.stages or recipe.digest(network.stages) != network.digest:
            return None
        looked = self._predicted(recipe)
        if not looked.predicted:
            return None
        cost = (float(looked.infeasible), *self._screen.point(0.0, looked.predicted))
        return Suggested(dict(trial.params), dict(trial.distributions), recipe, looked, cost)

    def _predicted(self, recipe: Recipe) -> "Looked":
        digest = recipe.digest()
        if digest not in self._looked:
            try:
                screened = self._screen.look(recipe)
                self._looked[digest] = Looked(screened.predicted, screened.infeasible is not None)
            except (SearcherError, TrialError):
                self._looked[digest] = Looked({}, True)
        return self._looked[digest]

    def _point(self, trial: FrozenTrial) -> Iterator[list[float]]:
        """A trial's quality and its predicted cost, if it can be predicted."""
        predicted = self._predicted(Recipe.model_validate(trial.user_attrs["recipe"])).predicted
        if predicted:
            yield self._screen.point(self._measured(trial), predicted)

    def _measured(self, trial: FrozenTrial) -> float:
        metrics: dict[str, float] = trial.user_attrs["metrics"]
        return next((metrics[objective.key] for objective in self._screen.quality), 0.0)


@dataclass(frozen=True)
class Network:
    """What a trial had after so many of its stages: the digest of its recipe until then, and its quality."""

    digest: str
    stages: int
    quality: float


@dataclass(frozen=True)
class Looked:
    """What is left of a `Screened` once its rows are forgotten."""

    predicted: dict[str, float]
    infeasible: bool


@dataclass(frozen=True)
class Suggested:
    """What a space suggests where some parameters are given; `cost` is to be minimised."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    recipe: Recipe
    looked: Looked
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
