"""What an earlier driver has left: trials that ended count, those that were running are told or put back."""

from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from searcher.config.recipe import Recipe
from searcher.execution.layout import trial_folder
from searcher.execution.results import stored_outcome
from searcher.search.ask import Asker
from searcher.search.early_stopping import Rungs
from searcher.search.state import State
from searcher.search.tell import ENDED_EARLY, FAILED, Teller, ended

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
        if trial.user_attrs.get("outcome") in ENDED_EARLY:
            stored.tell(trial.number, state=TrialState.PRUNED)
    trials = stored.get_trials(deepcopy=False)
    before = ended(trials)
    state.add(before.complete)
    state.reused = sum("reused" in t.user_attrs for t in before.complete)
    state.stopped, state.infeasible = len(before.stopped), len(before.infeasible)
    state.failed = len(before.failed)
    stopped = {t.number for t in before.stopped}
    for trial in trials:
        _restore(trial, rungs, trial.number in stopped)
        if trial.state == TrialState.RUNNING:
            _recover_running(trial, stored, folder, state, asker, teller, attach)
    state.earlier = state.finished


def _restore(trial: FrozenTrial, rungs: Rungs, stopped: bool) -> None:
    points = {
        int(key.partition(":")[2]): value
        for key, value in trial.user_attrs.items()
        if key.startswith("rung:")
    }
    if points:
        rungs.restore(trial.user_attrs["ordinal"], points, stopped)


def _recover_running(
    trial: FrozenTrial,
    stored: optuna.Study,
    folder: Path,
    state: State,
    asker: Asker,
    teller: Teller,
    attach: Attach,
) -> None:
    told = trial.user_attrs
    recipe = told.get("recipe")
    place = trial_folder(folder, trial.number)
    done = stored_outcome(place, Recipe.model_validate(recipe)) if recipe else None
    if done:
        state.add([teller.done(optuna.Trial(stored, trial._trial_id), done)])
    elif told.get("outcome") == FAILED:
        teller.failed(trial.number, FAILED, told["reason"])
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
    if not any(t.user_attrs.get("retry_of") == number for t in trials):
        attrs = {"retry_of": number} | ({} if attempt is None else {"attempt": attempt})
        asker.again(number, attrs)
    teller.failed(number, "put back", reason)
