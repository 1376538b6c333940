"""Tells Optuna the outcome of a trial: its state, its values, and why."""

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from searcher.config.study import Study
from searcher.execution.messages import Done, Infeasible
from searcher.search.records import (
    CPU_SECONDS,
    INFEASIBLE,
    MEASURED,
    METRICS,
    OUTCOME,
    PREDICTED,
    REASON,
    SECONDS,
    STOPPED,
)


class Teller:
    """Tells Optuna how trials ended; attributes first, since a trial that was told cannot be changed."""

    def __init__(self, study: Study, stored: optuna.Study) -> None:
        self._study, self._stored = study, stored

    def done(self, trial: optuna.Trial, done: Done, **attrs: Any) -> FrozenTrial:
        """A trial was measured."""
        told = {METRICS: done.metrics, SECONDS: done.seconds, **attrs, CPU_SECONDS: done.cpu_seconds}
        self._set(trial._trial_id, told | ({MEASURED: done.measured} if done.measured else {}))
        self._constrain(trial, done.metrics)
        values = [done.metrics[o.key] for o in self._study.objectives]
        return self._stored.tell(trial, values)

    def stopped(self, trial: optuna.Trial, reason: str, **attrs: Any) -> None:
        """A trial lagged behind at a rung."""
        self._set(trial._trial_id, {OUTCOME: STOPPED, REASON: reason, **attrs})
        self._stored.tell(trial, state=TrialState.PRUNED)

    def infeasible(self, trial: optuna.Trial, outcome: Infeasible, predicted: dict[str, float]) -> None:
        """A recipe cannot satisfy a constraint on its cost."""
        self._set(trial._trial_id, {OUTCOME: INFEASIBLE, REASON: outcome.reason, PREDICTED: predicted})
        self._constrain(trial, predicted)
        self._stored.tell(trial, state=TrialState.PRUNED)

    def failed(self, number: int, outcome: str, reason: str) -> None:
        """A trial failed, or was put back."""
        trial_id = self._stored.get_trials(deepcopy=False)[number]._trial_id
        self._set(trial_id, {OUTCOME: outcome, REASON: reason})
        self._stored.tell(number, state=TrialState.FAIL)

    def _constrain(self, trial: optuna.Trial, metrics: dict[str, float]) -> None:
        for constraint in self._study.constraints:
            if constraint.key in metrics and str(constraint) not in trial.constraints:
                trial.set_constraint(str(constraint), constraint.violation(metrics[constraint.key]))

    def _set(self, trial_id: int, attrs: dict[str, Any]) -> None:
        for key, value in attrs.items():
            self._stored._storage.set_trial_user_attr(trial_id, key, value)
