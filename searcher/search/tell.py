"""Tells Optuna the outcome of a trial: its state, its values, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from searcher.config.study import Study
from searcher.execution.messages import Done, Infeasible
from searcher.search.records import damage, whole

STOPPED, INFEASIBLE, FAILED = "stopped early", "infeasible", "failed"
ENDED_EARLY = (STOPPED, INFEASIBLE)
"""Outcomes of trials that Optuna knows as pruned."""


@dataclass(frozen=True)
class Ended:
    """Trials by how they ended. What was put back or has gone on from its rung is among none of them.

    What is `damaged` was complete and cannot be read any more; it does not count.
    """

    complete: list[FrozenTrial]
    stopped: list[FrozenTrial]
    infeasible: list[FrozenTrial]
    failed: list[FrozenTrial]
    damaged: list[FrozenTrial]

    @property
    def counted(self) -> list[FrozenTrial]:
        """Those that count towards the budget."""
        return [*self.complete, *self.stopped, *self.failed]


def ended(trials: Sequence[FrozenTrial]) -> Ended:
    """All of a study's trials that have ended, by how."""
    promoted = {t.user_attrs.get("promoted_from") for t in trials}
    pruned = [t for t in trials if t.state == TrialState.PRUNED and t.number not in promoted]
    return Ended(
        whole(trials),
        [t for t in pruned if t.user_attrs.get("outcome") != INFEASIBLE],
        [t for t in pruned if t.user_attrs.get("outcome") == INFEASIBLE],
        [t for t in trials if t.state == TrialState.FAIL and t.user_attrs.get("outcome") == FAILED],
        [t for t in trials if damage(t)],
    )


class Teller:
    """Tells Optuna how trials ended; attributes first, since a trial that was told cannot be changed."""

    def __init__(self, study: Study, stored: optuna.Study) -> None:
        self._study, self._stored = study, stored

    def done(self, trial: optuna.Trial, done: Done, **attrs: Any) -> FrozenTrial:
        """A trial was measured."""
        self._set(trial._trial_id, metrics=done.metrics, seconds=done.seconds, **attrs)
        self._set(trial._trial_id, cpu_seconds=done.cpu_seconds)
        if done.measured:
            self._set(trial._trial_id, measured=done.measured)
        self._constrain(trial, done.metrics)
        values = [done.metrics[o.key] for o in self._study.objectives]
        return self._stored.tell(trial, values)

    def stopped(self, trial: optuna.Trial, reason: str, **attrs: Any) -> None:
        """A trial lagged behind at a rung."""
        self._set(trial._trial_id, outcome=STOPPED, reason=reason, **attrs)
        self._stored.tell(trial, state=TrialState.PRUNED)

    def infeasible(self, trial: optuna.Trial, outcome: Infeasible, predicted: dict[str, float]) -> None:
        """A recipe cannot satisfy a constraint on its cost."""
        self._set(trial._trial_id, outcome=INFEASIBLE, reason=outcome.reason, predicted=predicted)
        self._constrain(trial, predicted)
        self._stored.tell(trial, state=TrialState.PRUNED)

    def failed(self, number: int, outcome: str, reason: str) -> None:
        """A trial failed, or was put back."""
        trial_id = self._stored.get_trials(deepcopy=False)[number]._trial_id
        self._set(trial_id, outcome=outcome, reason=reason)
        self._stored.tell(number, state=TrialState.FAIL)

    def _constrain(self, trial: optuna.Trial, metrics: dict[str, float]) -> None:
        for constraint in self._study.constraints:
            if constraint.key in metrics and str(constraint) not in trial.constraints:
                trial.set_constraint(str(constraint), constraint.violation(metrics[constraint.key]))

    def _set(self, trial_id: int, **attrs: Any) -> None:
        for key, value in attrs.items():
            self._stored._storage.set_trial_user_attr(trial_id, key, value)
