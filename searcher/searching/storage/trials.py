"""The trials of one study in Optuna's storage: enqueued, asked for, and told how they ended."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.execution.messages import Done, Infeasible
from searcher.searching import samplers
from searcher.searching.records import (
    ATTEMPT,
    CPU_SECONDS,
    ENDED_EARLY,
    FAILED,
    INFEASIBLE,
    JOB,
    MEASURED,
    METRICS,
    ORDINAL,
    OUTCOME,
    PREDICTED,
    PUT_BACK,
    REASON,
    RECIPE,
    RETRY_OF,
    REUSED,
    SECONDS,
    STOPPED,
    TrialRecord,
    rung,
)


class StoredTrials:
    """A study's trials.

    A trial's ordinal counts it without the ones that are tried again, and seeds its suggestions, so that a
    search that was interrupted asks what an undisturbed one would. Attributes are written before a trial is
    told: what was told cannot be changed.
    """

    def __init__(self, study: Study, stored: optuna.Study) -> None:
        self._study, self.stored = study, stored

    def all(self) -> list[FrozenTrial]:
        """Every trial, by number; they are shared, and not to be changed."""
        return self.stored.get_trials(deepcopy=False)

    def waiting(self) -> list[FrozenTrial]:
        """Trials that were enqueued and not asked for."""
        return [t for t in self.all() if t.state == TrialState.WAITING]

    def running(self) -> list[FrozenTrial]:
        """Trials that were asked for and not told."""
        return [t for t in self.all() if t.state == TrialState.RUNNING]

    def next_ordinal(self) -> int:
        """The ordinal of the next trial that is new."""
        return sum(not TrialRecord.of(t).retried for t in self.all())

    def new(self, params: Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> optuna.Trial:
        """Ask for a trial of the next ordinal; the sampler draws the parameters that are missing."""
        ordinal = self.next_ordinal()
        self.stored.enqueue_trial(dict(params), user_attrs={ORDINAL: ordinal} | dict(attributes or {}))
        return self.ask(ordinal)

    def ask(self, ordinal: int) -> optuna.Trial:
        """Ask for the first trial that waits, whose ordinal this is."""
        self.stored.sampler = samplers.make(self._study.sampler, self._study.seed, ordinal)
        return self.stored.ask()

    def reopen(self, trial: FrozenTrial) -> optuna.Trial:
        """A trial that another driver has asked for and not told."""
        return optuna.Trial(self.stored, trial._trial_id)

    def again(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Enqueue a trial's parameters, to be asked for as a trial of the same ordinal."""
        before = self.all()[number]
        record = TrialRecord.of(before)
        params = before.system_attrs.get("fixed_params", {}) | before.params
        own = record.origin | {ORDINAL: record.ordinal, ATTEMPT: record.attempt}
        self.stored.enqueue_trial(params, user_attrs=own | dict(attributes))

    def suggested(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Write down a trial's recipe."""
        trial.set_user_attr(RECIPE, recipe.model_dump(mode="json"))

    def submitted(self, trial: optuna.Trial, job: dict[str, Any]) -> None:
        """Write down where a trial runs."""
        trial.set_user_attr(JOB, job)

    def at_rung(self, trial: optuna.Trial, epochs: int, point: list[float]) -> None:
        """Write down what a trial is judged by at a rung."""
        trial.set_user_attr(rung(epochs), point)

    def complete(self, trial: optuna.Trial, done: Done, reused: int | None = None) -> FrozenTrial:
        """Tell that a trial was measured, or what its recipe has given in another trial."""
        told = {METRICS: done.metrics, SECONDS: done.seconds, CPU_SECONDS: done.cpu_seconds}
        told |= {MEASURED: done.measured} if done.measured else {}
        _set(trial, told | _reused(reused))
        self._constrain(trial, done.metrics)
        return self.stored.tell(trial, [done.metrics[o.key] for o in self._study.objectives])

    def stop(
        self, trial: optuna.Trial, reason: str, cpu_seconds: float | None = None, reused: int | None = None
    ) -> None:
        """Tell that a trial lagged behind at a rung, or that its recipe did in another trial."""
        spent = {} if cpu_seconds is None else {CPU_SECONDS: cpu_seconds}
        _set(trial, {OUTCOME: STOPPED, REASON: reason} | spent | _reused(reused))
        self.stored.tell(trial, state=TrialState.PRUNED)

    def refuse(self, trial: optuna.Trial, outcome: Infeasible) -> None:
        """Tell that a recipe cannot satisfy a constraint on its cost."""
        _set(trial, {OUTCOME: INFEASIBLE, REASON: outcome.reason, PREDICTED: outcome.predicted})
        self._constrain(trial, outcome.predicted)
        self.stored.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """Tell that a trial failed."""
        _set(trial, {OUTCOME: FAILED, REASON: reason})
        self.stored.tell(trial, state=TrialState.FAIL)

    def put_back(self, trial: optuna.Trial, reason: str, attempt: int | None = None) -> None:
        """Enqueue a trial's parameters again, then tell it failed; safe to be cut off in between.

        Args:
            trial: One that was asked for and not told.
            reason: Why.
            attempt: How many of its ordinal were killed, where this is another one.
        """
        if not any(TrialRecord.of(t).retry_of == trial.number for t in self.all()):
            self.again(
                trial.number, {RETRY_OF: trial.number} | ({} if attempt is None else {ATTEMPT: attempt})
            )
        _set(trial, {OUTCOME: PUT_BACK, REASON: reason})
        self.stored.tell(trial, state=TrialState.FAIL)

    def finish_half_told(self) -> None:
        """Tell what a driver had written down of a trial's early end and not told."""
        for trial in self.running():
            if TrialRecord.of(trial).outcome in ENDED_EARLY:
                self.stored.tell(trial.number, state=TrialState.PRUNED)

    def _constrain(self, trial: optuna.Trial, metrics: Mapping[str, float]) -> None:
        for constraint in self._study.constraints:
            if constraint.key in metrics and constraint.name not in trial.constraints:
                trial.set_constraint(constraint.name, constraint.violation(metrics[constraint.key]))


def _set(trial: optuna.Trial, attributes: Mapping[str, Any]) -> None:
    for key, value in attributes.items():
        trial.set_user_attr(key, value)


def _reused(number: int | None) -> dict[str, int]:
    return {} if number is None else {REUSED: number}
