"""The sources of trials: what a search tries next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.trial import TrialState

from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.searching.hypervolume import alone
from searcher.searching.loading import Space
from searcher.searching.pareto import Front, front
from searcher.searching.prefixes import Suggest, deciding, depths
from searcher.searching.records import PREFIX_OF, TrialRecord
from searcher.searching.storage import studies
from searcher.searching.storage.trials import StoredTrials
from searcher.searching.variants import Variants

MIN_COMPLETE_TRIALS = 10
"""Complete trials from which on the front is worth staying near."""

MAX_HYPERVOLUME_OBJECTIVES = 3
"""Objectives up to which a hypervolume takes no time."""


class Source(Protocol):
    """One of the places that trials come from."""

    def next(self, points: Front) -> optuna.Trial | None:
        """A trial that was asked for, given the front so far; None where the source has none."""


def sources(study: Study, space: Space, trials: StoredTrials, variants: Variants) -> list[Source]:
    """The sources of the next trial, of which the first that has one is taken; the last always has."""
    known = Known(trials, [*space.known, *trials.stored.user_attrs.get("warm_start", [])])
    prefixes = Prefixes(study, space.suggest, trials)
    return [Retries(trials), known, Requantized(trials, variants), prefixes, Sampled(trials)]


class Retries:
    """Trials that were put back."""

    def __init__(self, trials: StoredTrials) -> None:
        self._trials = trials

    def next(self, points: Front) -> optuna.Trial | None:
        """The one that waits longest."""
        waiting = self._trials.waiting()
        return self._trials.ask(TrialRecord.of(waiting[0]).ordinal) if waiting else None


class Known:
    """Configurations that are known before the search, in the order of their ordinals."""

    def __init__(self, trials: StoredTrials, configurations: Sequence[Mapping[str, Any]]) -> None:
        self._trials, self._configurations = trials, configurations

    def next(self, points: Front) -> optuna.Trial | None:
        """The next configuration, if there is one left."""
        if not self._configurations:
            return None
        ordinal = self._trials.next_ordinal()
        if ordinal < len(self._configurations):
            return self._trials.new(self._configurations[ordinal])
        self._configurations = []
        return None


class Requantized:
    """Networks that are trained already, quantized otherwise."""

    def __init__(self, trials: StoredTrials, variants: Variants) -> None:
        self._trials, self._variants = trials, variants

    def next(self, points: Front) -> optuna.Trial | None:
        """The one that would extend the front most, if one would."""
        found = self._variants.best(points, self._trials.all())
        return self._trials.new(found.params, found.attributes) if found else None


class Prefixes:
    """Recipes that begin as one on the front does, and are drawn from there on."""

    def __init__(self, study: Study, suggest: Suggest, trials: StoredTrials) -> None:
        self._study, self._suggest, self._trials = study, suggest, trials

    def next(self, points: Front) -> optuna.Trial | None:
        """One around a trained prefix, as often as the study says."""
        complete = sum(t.state == TrialState.COMPLETE for t in self._trials.all())
        parent = (
            self._parent(self._trials.next_ordinal(), points) if complete >= MIN_COMPLETE_TRIALS else None
        )
        return self._trials.new(parent[1], {PREFIX_OF: parent[0]}) if parent else None

    def _parent(self, ordinal: int, points: Front) -> tuple[int, dict[str, Any]] | None:
        """A trial on the front, and those of its parameters that decide its first stages.

        The more of the hypervolume a trial dominates alone, the more often it is chosen.
        """
        random = np.random.default_rng([self._study.seed, ordinal])
        with_stages = (
            [t for t in points.trials if depths(TrialRecord.of(t).recipe)] if self._study.store else []
        )
        if not with_stages or random.random() >= self._study.sampler.prefix_reuse:
            return None
        signs = [o.sign for o in self._study.objectives]
        values = np.array([t.values for t in with_stages]) * signs
        unique, which = np.unique(values, axis=0, return_inverse=True)
        weights = (
            alone(unique)[which.reshape(-1)] + 1e-9
            if len(signs) <= MAX_HYPERVOLUME_OBJECTIVES
            else np.ones(len(values))
        )
        trial = with_stages[random.choice(len(with_stages), p=weights / weights.sum())]
        stages = int(random.integers(1, depths(TrialRecord.of(trial).recipe) + 1))
        try:
            kept = deciding(self._suggest, trial.params, trial.distributions, stages)
        except Exception:  # a space that cannot do without a trial of Optuna's
            return None
        return trial.number, kept


class Sampled:
    """Recipes that are the sampler's from their first stage on."""

    def __init__(self, trials: StoredTrials) -> None:
        self._trials = trials

    def next(self, points: Front) -> optuna.Trial:
        """One more."""
        return self._trials.new({})


def known_front(runs: Path, name: str) -> list[dict[str, Any]]:
    """The parameters of the trials on another stored study's front.

    Raises:
        SearcherError: No study is stored under that name, or none of its trials is complete.
    """
    stored, study = studies.load(runs, studies.resolve(runs, name)[0])
    complete = stored.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not complete:
        raise SearcherError(f"warm_start: {name} has no complete trial in {runs}")
    return [trial.params for trial in front(study, complete).trials]
