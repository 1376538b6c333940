"""What an earlier driver has left: trials that ended count, those that were running are told or put back."""

from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from searcher.execution.layout import trial_folder
from searcher.execution.results import stored_outcome
from searcher.search.ask import Asker
from searcher.search.early_stopping import Rungs
from searcher.search.records import (
    ATTEMPT,
    ENDED_EARLY,
    FAILED,
    PUT_BACK,
    RETRY_OF,
    TrialRecord,
    ended,
)
from searcher.search.state import State
from searcher.search.tell import Teller

Attach = Callable[[FrozenTrial], bool]
"""Finds a trial again that still runs; False where none does."""


def recover(
    stored: optuna.Study,
    folder: Path,
    state: State,
    asker: Asker,
    teller: Teller,
    rungs: Rungs,
    attach: Attach,
) -> None:
    """Bring a stored study to where a driver can go on, and count what is finished."""
    for trial in stored.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if TrialRecord.of(trial).outcome in ENDED_EARLY:
            stored.tell(trial.number, state=TrialState.PRUNED)
    trials = stored.get_trials(deepcopy=False)
    before = ended(trials)
    state.add(before.complete)
    state.reused = sum(TrialRecord.of(t).reused is not None for t in before.complete)
    state.stopped, state.infeasible = len(before.stopped), len(before.infeasible)
    state.failed = len(before.failed)
    stopped = {t.number for t in before.stopped}
    for trial in trials:
        _restore(trial, rungs, trial.number in stopped)
        if trial.state == TrialState.RUNNING:
            _recover_running(trial, stored, folder, state, asker, teller, attach)
    state.earlier = state.finished


def _restore(trial: FrozenTrial, rungs: Rungs, stopped: bool) -> None:
    record = TrialRecord.of(trial)
    if record.rungs:
        rungs.restore(record.ordinal, record.rungs, stopped)


def _recover_running(
    trial: FrozenTrial,
    stored: optuna.Study,
    folder: Path,
    state: State,
    asker: Asker,
    teller: Teller,
    attach: Attach,
) -> None:
    record = TrialRecord.of(trial)
    place = trial_folder(folder, trial.number)
    done = stored_outcome(place, record.recipe) if record.has_recipe else None
    if done:
        state.add([teller.done(optuna.Trial(stored, trial._trial_id), done)])
    elif record.outcome == FAILED:
        teller.failed(trial.number, FAILED, record.reason or "")
        state.failed += 1
    elif not attach(trial):
        put_back(asker, teller, stored.get_trials(deepcopy=False), trial.number, "interrupted")


def put_back(
    asker: Asker,
    teller: Teller,
    trials: Sequence[FrozenTrial],
    number: int,
    reason: str,
    attempt: int | None = None,
) -> None:
    """Enqueue a trial's parameters again, then tell it failed; safe to be cut off in between."""
    if not any(TrialRecord.of(t).retry_of == number for t in trials):
        attrs = {RETRY_OF: number} | ({} if attempt is None else {ATTEMPT: attempt})
        asker.again(number, attrs)
    teller.failed(number, PUT_BACK, reason)
