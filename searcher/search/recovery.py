"""What an earlier driver has left: trials that ended count, those that were running are told or put back."""

from collections.abc import Callable
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from searcher.execution.layout import trial_folder
from searcher.execution.results import stored_outcome
from searcher.search.early_stopping import Rungs
from searcher.search.records import FAILED, TrialRecord, ended
from searcher.search.state import State
from searcher.search.storage.trials import StoredTrials

Attach = Callable[[FrozenTrial], bool]
"""Finds a trial again that still runs; False where none does."""


def recover(trials: StoredTrials, folder: Path, state: State, rungs: Rungs, attach: Attach) -> None:
    """Bring a stored study to where a driver can go on, and count what is finished."""
    trials.finish_half_told()
    before = ended(trials.all())
    state.add(before.complete)
    state.reused = sum(TrialRecord.of(t).reused is not None for t in before.complete)
    state.stopped, state.infeasible = len(before.stopped), len(before.infeasible)
    state.failed = len(before.failed)
    stopped = {t.number for t in before.stopped}
    for trial in trials.all():
        _restore(trial, rungs, trial.number in stopped)
        if trial.state == TrialState.RUNNING:
            _recover_running(trial, trials, folder, state, attach)
    state.earlier = state.finished


def _restore(trial: FrozenTrial, rungs: Rungs, stopped: bool) -> None:
    record = TrialRecord.of(trial)
    if record.rungs:
        rungs.restore(record.ordinal, record.rungs, stopped)


def _recover_running(
    trial: FrozenTrial, trials: StoredTrials, folder: Path, state: State, attach: Attach
) -> None:
    record = TrialRecord.of(trial)
    place = trial_folder(folder, trial.number)
    done = stored_outcome(place, record.recipe) if record.has_recipe else None
    if done:
        state.add([trials.complete(trials.reopen(trial), done)])
    elif record.outcome == FAILED:
        trials.fail(trials.reopen(trial), record.reason or "")
        state.failed += 1
    elif not attach(trial):
        trials.put_back(trials.reopen(trial), "interrupted")
