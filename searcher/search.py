"""The driver: one loop that asks Optuna for trials, runs each as a job, and tells what came out."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from searcher import storage
from searcher.check import Space, check_parts, identify
from searcher.launch import LocalTrial, cores, start_server, wait_for
from searcher.measure import timed
from searcher.recipe import Recipe
from searcher.state import Running, State, View
from searcher.study import Study
from searcher.trial import Done, Failed, Job, Killed, Outcome, Progress, stored_outcome

RETRIES = 2


def search(study: Study, runs: Path, workers: int, view: View) -> State:
    """Run a study until its budget of trials is spent; a stored study goes on where it was.

    Raises:
        SearcherError: The study cannot be searched as it is, or another driver runs it.
        KeyboardInterrupt: After Ctrl-C, when the running trials were stopped and put back.
    """
    with _first_interrupt() as interrupted:
        space = check_parts(study)
        start_server()
        identity = identify(study)
        storage.make_runs(runs)
        folder = runs.absolute() / study.stored_name
        with storage.one_driver(folder):
            stored = storage.create_or_load(runs, study, identity)
            state = _Driver(study, stored, space, folder, workers, view).run(interrupted)
    if interrupted.is_set():
        raise KeyboardInterrupt
    return state


@contextmanager
def _first_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that nothing is cut off half told; the second cuts off."""
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        event.set()

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


class _Driver:
    def __init__(
        self, study: Study, stored: optuna.Study, space: Space, folder: Path, workers: int, view: View
    ) -> None:
        self.study, self.stored, self.space, self.folder = study, stored, space, folder
        self.view = view
        self.threads = max(1, cores() // workers)
        self.state = State(study, workers)

    def run(self, interrupted: threading.Event) -> State:
        self._recover()
        state = self.state
        try:
            while not interrupted.is_set() and (state.running or self._wanted):
                self._fill()
                wait_for([r.process for r in state.running.values()], 0.25)
                self._collect()
                self.view.update(state)
        finally:
            self._collect()
            for number, running in list(state.running.items()):
                running.process.stop()
                self._put_back(number, "interrupted")
        return state

    @property
    def _wanted(self) -> int:
        """Trials that are still to be started."""
        return self.study.budget.trials - self.state.finished - len(self.state.running)

    def _recover(self) -> None:
        """Count what is finished; tell or put back what was running when an earlier driver died."""
        trials = self._trials()
        self.state.add([t for t in trials if t.state == TrialState.COMPLETE])
        for trial in trials:
            if trial.state == TrialState.FAIL:
                self.state.failed += trial.user_attrs.get("outcome") == "failed"
            elif trial.state == TrialState.RUNNING:
                self._recover_running(trial)
        self.state.earlier = self.state.finished

    def _recover_running(self, trial: FrozenTrial) -> None:
        recipe = trial.user_attrs.get("recipe")
        done = stored_outcome(self._place(trial.number), Recipe.model_validate(recipe)) if recipe else None
        if done:
            self._tell_done(optuna.Trial(self.stored, trial._trial_id), done)
        elif trial.user_attrs.get("outcome") == "failed":
            self._tell_failed(trial.number, trial.user_attrs["reason"])
        else:
            self._put_back(trial.number, "interrupted")

    def _fill(self) -> None:
        while self._wanted > 0 and len(self.state.running) < self.state.workers:
            trial = self._ask()
            try:
                recipe = self.space.suggest(trial)
            except Exception as error:
                self._tell(trial, Failed(f"space {self.study.space}: {type(error).__name__}: {error}"))
            else:
                self._start(trial, recipe)

    def _start(self, trial: optuna.Trial, recipe: Recipe) -> None:
        folder = self._place(trial.number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        recipe.save(folder / "recipe.toml")
        trial.set_user_attr("recipe", recipe.model_dump(mode="json"))
        process = LocalTrial(Job(self.study, trial.number, recipe, folder, self.threads))
        begun = Progress("start", 0, 1, float("nan"))
        self.state.running[trial.number] = Running(trial, process, time.monotonic(), begun)

    def _ask(self) -> optuna.Trial:
        """One that was put back, else the space's next known configuration, else a new one.

        A trial's ordinal counts it without the retries and seeds its suggestions, so that a search that was
        interrupted asks what an undisturbed one would.
        """
        trials = self._trials()
        waiting = [t for t in trials if t.state == TrialState.WAITING]
        if waiting:
            ordinal = waiting[0].user_attrs["ordinal"]
        else:
            ordinal = sum("retry_of" not in t.user_attrs for t in trials)
            known = self.space.known[ordinal] if ordinal < len(self.space.known) else {}
            self.stored.enqueue_trial(known, user_attrs={"ordinal": ordinal})
        self.stored.sampler = sampler(self.study.seed, ordinal)
        return self.stored.ask()

    def _collect(self) -> None:
        for running in list(self.state.running.values()):
            for event in running.process.events():
                if isinstance(event, Progress):
                    running.progress = event
                else:
                    running.process.stop()
                    self._tell(running.trial, event)

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        attempt = trial.user_attrs.get("attempt", 0) + 1
        match outcome:
            case Done():
                self._tell_done(trial, outcome)
            case Killed() if attempt <= RETRIES:
                self._put_back(trial.number, outcome.reason, attempt)
            case _:
                outcome = Failed(outcome.reason)
                self._tell_failed(trial.number, outcome.reason)
        self.state.running.pop(trial.number, None)
        self.view.told(self.state, trial.number, outcome)

    def _tell_done(self, trial: optuna.Trial, outcome: Done) -> None:
        trial.set_user_attr("metrics", outcome.metrics)
        trial.set_user_attr("seconds", outcome.seconds)
        if outcome.measured:
            trial.set_user_attr("measured", outcome.measured)
        for constraint in self.study.constraints:
            if str(constraint) not in trial.constraints:
                trial.set_constraint(str(constraint), constraint.violation(outcome.metrics[constraint.key]))
        values = [outcome.metrics[o.key] for o in self.study.objectives]
        self.state.add([self.stored.tell(trial, values)])

    def _tell_failed(self, number: int, reason: str) -> None:
        self._fail(number, "failed", reason)
        self.state.failed += 1

    def _put_back(self, number: int, reason: str, attempt: int = 0) -> None:
        """Enqueue a trial's parameters again, then tell it failed; safe to be cut off in between."""
        trials = self._trials()
        lost = trials[number]
        if not any(t.user_attrs.get("retry_of") == number for t in trials):
            attrs = {
                "retry_of": number,
                "ordinal": lost.user_attrs["ordinal"],
                "attempt": attempt or lost.user_attrs.get("attempt", 0),
            }
            params = lost.system_attrs.get("fixed_params", {}) | lost.params
            self.stored.enqueue_trial(params, user_attrs=attrs)
        self._fail(number, "put back", reason)

    def _fail(self, number: int, outcome: str, reason: str) -> None:
        trial_id = self._trials()[number]._trial_id
        self.stored._storage.set_trial_user_attr(trial_id, "outcome", outcome)
        self.stored._storage.set_trial_user_attr(trial_id, "reason", reason)
        self.stored.tell(number, state=TrialState.FAIL)

    def _trials(self) -> list[FrozenTrial]:
        return self.stored.get_trials(deepcopy=False)

    def _place(self, number: int) -> Path:
        return self.folder / f"trial-{number:05}"


def sampler(seed: int, ordinal: int) -> optuna.samplers.BaseSampler:
    """Optuna's TPE over the whole space at once, split into the groups that its conditions make."""
    own = int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])
    with storage.experimental():
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=own)


def default_workers(study: Study) -> int:
    """One trial a core, at most 4; one alone where there is a GPU, or where trials are timed."""
    alone = torch.cuda.is_available() or timed(study.measured())
    return 1 if alone else min(4, cores())
