"""Chooses the next trial: retries, known configurations, variants, prefixes, then the sampler."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.search.check import Space
from searcher.search.hypervolume import alone
from searcher.search.pareto import Front, front
from searcher.search.prefixes import deciding, depths
from searcher.search.records import PREFIX_OF, TrialRecord
from searcher.search.storage import studies
from searcher.search.storage.trials import StoredTrials

FEWEST = 10
"""Complete trials from which on the front is worth staying near."""

MOST = 3
"""Objectives up to which a hypervolume takes no time."""


class Asker:
    """Asks for trials, and says where their parameters come from."""

    def __init__(self, study: Study, trials: StoredTrials, space: Space) -> None:
        self._study, self._trials, self._space = study, trials, space
        self._known = [*space.known, *trials.stored.user_attrs.get("warm_start", [])]

    def waiting(self) -> optuna.Trial | None:
        """A trial that was put back, if there is one."""
        waiting = self._trials.waiting()
        return self._trials.ask(TrialRecord.of(waiting[0]).ordinal) if waiting else None

    def known(self) -> optuna.Trial | None:
        """A trial of the next known configuration, if there is one left."""
        if not self._known:
            return None
        ordinal = self._trials.next_ordinal()
        if ordinal < len(self._known):
            return self._trials.new(self._known[ordinal])
        self._known = []
        return None

    def new(self, points: Front) -> optuna.Trial:
        """A trial around a trained prefix, or one that is new from its first stage on."""
        trials = self._trials.all()
        complete = sum(t.state == TrialState.COMPLETE for t in trials)
        parent = self._parent(self._trials.next_ordinal(), points) if complete >= FEWEST else None
        return self._trials.new(parent[1], {PREFIX_OF: parent[0]}) if parent else self._trials.new({})

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
        weights = alone(unique)[which.reshape(-1)] + 1e-9 if len(signs) <= MOST else np.ones(len(values))
        trial = with_stages[random.choice(len(with_stages), p=weights / weights.sum())]
        stages = int(random.integers(1, depths(TrialRecord.of(trial).recipe) + 1))
        try:
            kept = deciding(self._space.suggest, trial.params, trial.distributions, stages)
        except Exception:  # a space that cannot do without a trial of Optuna's
            return None
        return trial.number, kept


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
