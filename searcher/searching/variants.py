"""Trained networks that are worth a trial more, in the cheapest way that their space can quantize them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isfinite, isnan
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from searcher.compression.teaching import TEACHER
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.errors import SearcherError, TrialError
from searcher.execution.curve import CURVE, read
from searcher.files import in_one_step
from searcher.searching.hypervolume import added
from searcher.searching.pareto import Front
from searcher.searching.prefixes import Filled, Suggest, deciding, depths, other_values
from searcher.searching.records import FAILED, VARIANT, VARIANT_OF, TrialRecord
from searcher.searching.screening import WEIGHT_BITS, Screen

VARIANTS = "variants.json"
"""In a trial's folder: what was found of the networks that it has trained."""

WORTH = 0.001
"""The hypervolume that a variant must add, as a share of the box that the front spans."""

RETENTION_WINDOW, MIN_RETENTION = 5, 0.5
"""By how many variants it is judged how much of its quality a network keeps, and how much that must be."""


@dataclass(frozen=True)
class Variant:
    """A network that a trial has trained on its way, quantized otherwise.

    Attributes:
        trial: The number of that trial.
        params: The parameters that suggest the variant's recipe.
        recipe: The digest of it.
        expected: Its predicted costs, and the qualities that are expected of it, by key.
    """

    trial: int
    params: dict[str, Any]
    recipe: str
    expected: dict[str, float]

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that are stored with the variant's trial."""
        return {VARIANT_OF: self.trial, VARIANT: {"recipe": self.recipe, "expected": self.expected}}


class Variants:
    """Finds among the networks that are trained already the one that would extend the front most.

    What a trial has made after each of its trained stages is in the store: to measure it takes a small part
    of what it took to train. Its accuracy is in the trial's curve, its cost is predicted. What was found of a
    trial is kept in its folder, so that a driver that starts again does not predict it all anew.
    """

    def __init__(self, study: Study, suggest: Suggest, screen: Screen, place: Callable[[int], Path]) -> None:
        self._study, self._suggest, self._screen, self._place = study, suggest, screen, place
        self._looked: dict[str, dict[str, float]] = {}
        self._heard: set[int] = set()
        self._networks: set[str] = set()
        self._tried: set[str] = set()
        self._open: list[Variant] = []
        self._came_true: list[float] = []
        costs = [o for o in study.objectives if o not in screen.quality]
        quality = any(objective.goal == "maximize" for objective in screen.quality)
        self._wanted = study.store and study.sampler.variants and quality and bool(costs)

    def best(self, front: Front, trials: Sequence[FrozenTrial]) -> Variant | None:
        """The variant that was not tried and would extend the front most; None where none would.

        A network keeps as much of its quality as the latest variants have.
        """
        if not self._wanted:
            return None
        for trial in trials:
            self._hear(trial)
        self._open = [v for v in self._open if v.recipe not in self._tried]
        keeps = median(self._came_true[-RETENTION_WINDOW:] or [1.0])
        if not self._open or keeps < MIN_RETENTION:
            return None
        points = np.array([p for t in front.trials for p in self._points(self._known(t))])
        worths = {v.recipe: self._worth(v, keeps, points, front) for v in self._open}
        found = max(self._open, key=lambda v: worths[v.recipe], default=None)
        return found if found and worths[found.recipe] >= WORTH else None

    def _worth(self, variant: Variant, keeps: float, points: np.ndarray, front: Front) -> float:
        expected = {
            key: value * keeps if key in self._screen.qualities else value
            for key, value in variant.expected.items()
        }
        violated = self._study.violated(expected)
        if violated and front.feasible:
            return 0.0
        if not violated and not front.feasible and any(c.key in expected for c in self._study.constraints):
            return 1.0
        return max((added(points, point) for point in self._points(expected)), default=0.0)

    def _points(self, metrics: Mapping[str, float]) -> Iterator[list[float]]:
        """Quality and cost, all to be minimised, where they are known."""
        if WEIGHT_BITS in metrics:
            (quality,) = self._screen.quality
            costs = {key: value for key, value in metrics.items() if key not in self._screen.qualities}
            yield self._screen.point(metrics[quality.key], costs, WEIGHT_BITS)

    def _known(self, trial: FrozenTrial) -> dict[str, float]:
        """A trial's predicted costs and its measured qualities."""
        record = TrialRecord.of(trial)
        return self._predicted(record.recipe) | self._qualities(record)

    def _qualities(self, record: TrialRecord) -> dict[str, float]:
        return {key: record.metrics[key] for key in self._screen.qualities}

    def _hear(self, trial: FrozenTrial) -> None:
        """Learn what a trial has tried, and once it has ended, which networks it has trained."""
        if trial.number in self._heard:
            return
        record = TrialRecord.of(trial)
        if record.is_variant:
            self._tried.add(record.variant_recipe)
        if record.has_recipe:
            self._tried.add(record.recipe.digest())
        if trial.state.is_finished():
            self._heard.add(trial.number)
            if record.is_variant:
                self._came_true.extend(self._kept_quality(trial))
        if trial.state == TrialState.COMPLETE:
            networks = {network.digest: network for network in self._trained(record)}
            new = [network for digest, network in networks.items() if digest not in self._networks]
            self._networks |= networks.keys()
            self._open += self._found(trial, new)

    def _kept_quality(self, trial: FrozenTrial) -> Iterator[float]:
        """The share of a variant's expected quality that came true; nothing where it failed."""
        (quality,) = self._screen.quality
        record = TrialRecord.of(trial)
        expected = record.expected[quality.key]
        if trial.state == TrialState.COMPLETE and expected > 0:
            yield min(1.0, record.metrics[quality.key] / expected)
        elif record.outcome == FAILED:
            yield 0.0

    def _trained(self, record: TrialRecord) -> Iterator["Network"]:
        """The networks that a trial had after its stages, with the qualities that are expected of them.

        What is measured may be another figure than what a training reports (AP, AP50): it is taken to be
        as much larger after another stage as that is.
        """
        curve = read(self._place(record.number) / CURVE)
        accuracies = [point.accuracy for point in curve if point.epoch and point.stage != TEACHER]
        if not accuracies or isnan(accuracies[-1]):
            return
        recipe, measured = record.recipe, self._qualities(record)
        before = 0
        trained = self._screen.trained(recipe)
        for count, epochs in enumerate(trained, 1):
            own, before = epochs - before, epochs
            if count == len(trained):
                yield Network(recipe.digest(count), count, measured)
            elif own and epochs <= len(accuracies) and accuracies[-1] > 0:
                times = accuracies[epochs - 1] / accuracies[-1]
                qualities = {key: min(value * times, max(value, 1.0)) for key, value in measured.items()}
                yield Network(recipe.digest(count), count, qualities)

    def _found(self, trial: FrozenTrial, networks: Sequence["Network"]) -> list[Variant]:
        """A trial's networks as an earlier driver has found them, or as they are found now."""
        folder = self._place(trial.number)
        with suppress(FileNotFoundError, ValueError, TypeError):
            return [Variant(**variant) for variant in json.loads((folder / VARIANTS).read_text())]
        found = [variant for network in networks for variant in self._variant(trial, network)]
        if networks and folder.is_dir():
            with in_one_step(folder / VARIANTS) as part:
                part.write_text(json.dumps([asdict(variant) for variant in found], indent=1))
        return found

    def _variant(self, trial: FrozenTrial, network: "Network") -> Iterator[Variant]:
        """The cheapest recipe that trains just this network, if the space has one."""
        try:
            params = deciding(self._suggest, trial.params, trial.distributions, network.stages)
            found = cheapest(self._suggest, params, lambda recipe: self._cost(recipe, network))
        except Exception:  # a space that cannot do without a trial of Optuna's
            return
        predicted = self._predicted(found.recipe) if found else {}
        if found and not self._study.violated(predicted):
            yield Variant(trial.number, found.params, found.recipe.digest(), predicted | network.qualities)

    def _cost(self, recipe: Recipe, network: "Network") -> tuple[float, ...] | None:
        """The costs of a recipe that trains this network and no more; None for another."""
        if depths(recipe) != network.stages or recipe.digest(network.stages) != network.digest:
            return None
        predicted = self._predicted(recipe)
        if not predicted:
            return None
        violated = len(self._study.violated(predicted))
        return (float(violated), *self._screen.point(0.0, predicted, WEIGHT_BITS)[1:])

    def _predicted(self, recipe: Recipe) -> dict[str, float]:
        """The costs that can be predicted; none where one of them is not a number."""
        digest = recipe.digest()
        if digest not in self._looked:
            try:
                predicted = self._screen.look(recipe).predicted
            except (SearcherError, TrialError):
                predicted = {}
            self._looked[digest] = predicted if all(map(isfinite, predicted.values())) else {}
        return self._looked[digest]


@dataclass(frozen=True)
class Network:
    """A trial after so many stages: the digest of its recipe until then, and its qualities."""

    digest: str
    stages: int
    qualities: dict[str, float]


@dataclass(frozen=True)
class Suggested:
    """The suggestion of a space where some parameters are given."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    recipe: Recipe


def cheapest(
    suggest: Suggest, params: Mapping[str, Any], cost: Callable[[Recipe], tuple[float, ...] | None]
) -> Suggested | None:
    """The cheapest recipe around given parameters, found by changing the others one at a time.

    Args:
        suggest: The space.
        params: The parameters that stay as they are.
        cost: What is to be minimised of a recipe; None where it is not wanted.
    """
    best = _suggested(suggest, params)
    if best is None:
        return None
    least, improved = cost(best.recipe), True
    while improved:
        improved = False
        for name in [name for name in best.params if name not in params]:
            if name not in best.params:
                continue  # an earlier change has put it out of the recipe
            for value in other_values(best.distributions[name], best.params[name]):
                found = _suggested(suggest, {**best.params, name: value})
                new = cost(found.recipe) if found else None
                if found and new is not None and (least is None or new < least):
                    best, least, improved = found, new, True
                    break
    return best if least is not None else None


def _suggested(suggest: Suggest, params: Mapping[str, Any]) -> Suggested | None:
    trial = Filled(dict(params))
    try:
        recipe = suggest(trial)
    except Exception:  # values that cannot be had together
        return None
    return Suggested(dict(trial.params), dict(trial.distributions), recipe)
