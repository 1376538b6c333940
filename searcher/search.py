"""The driver: one loop that asks Optuna for trials, runs each as a job, and tells what came out."""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from searcher import storage
from searcher.check import identify, load_space
from searcher.front import Front, front
from searcher.launch import LocalTrial, cores, start_server, wait_for
from searcher.measure import check_metrics
from searcher.recipe import Recipe
from searcher.study import Study
from searcher.trial import Done, Failed, Job, Killed, Outcome, Progress

RETRIES = 2


@dataclass
class Running:
    """A trial under way, for the view."""

    trial: optuna.Trial
    process: LocalTrial
    started: float
    progress: Progress


@dataclass
class State:
    """What a view shows of a search."""

    study: Study
    workers: int
    started: float = field(default_factory=time.monotonic)
    running: dict[int, Running] = field(default_factory=dict)
    complete: list[FrozenTrial] = field(default_factory=list)
    front: Front = field(default_factory=lambda: Front([], feasible=False))
    failed: int = 0
    earlier: int = 0

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return len(self.complete) + self.failed

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Count trials that are complete, and bring the front up to date."""
        self.complete.extend(trials)
        self.front = front(self.study, self.complete)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace so far; None before the first trial is done."""
        done = self.finished - self.earlier
        if not done:
            return None
        return (time.monotonic() - self.started) / done * (self.study.budget.trials - self.finished)


class View(Protocol):
    """What shows a search while it runs."""

    def update(self, state: State) -> None:
        """Something changed, or a fraction of a second went by."""

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """A trial ended."""


def search(study: Study, runs: Path, workers: int, view: View) -> State:
    """Run a study until its budget of trials is spent; a stored study goes on where it was.

    Raises:
        SearcherError: The study cannot be searched as it is, or another driver runs it.
        KeyboardInterrupt: After the running trials were stopped and put back.
    """
    space = load_space(study)
    check_metrics(study.measured())
    start_server()
    folder = runs.absolute() / study.stored_name
    identity = identify(study)
    storage.open_storage(runs)
    with storage.one_driver(folder):
        stored = storage.create_or_load(runs, study, identity)
        return _Driver(study, stored, space, folder, workers, view).run()


class _Driver:
    def __init__(
        self, study: Study, stored: optuna.Study, space: ModuleType, folder: Path, workers: int, view: View
    ) -> None:
        self.study, self.stored, self.space, self.folder = study, stored, space, folder
        self.view = view
        self.threads = max(1, cores() // workers)
        self.state = State(study, workers)

    def run(self) -> State:
        self._recover()
        state = self.state
        try:
            while state.running or state.finished < self.study.budget.trials:
                self._fill()
                wait_for([r.process for r in state.running.values()], 0.25)
                for running in list(state.running.values()):
                    self._collect(running)
                self.view.update(state)
        finally:
            for running in list(state.running.values()):
                running.process.stop()
                self._put_back(running.trial.number, "interrupted")
        return state

    def _recover(self) -> None:
        """Count what is finished; put back what was running when an earlier driver died."""
        trials = self.stored.get_trials(deepcopy=False)
        self.state.add([t for t in trials if t.state == TrialState.COMPLETE])
        for trial in trials:
            if trial.state == TrialState.FAIL:
                self.state.failed += trial.user_attrs.get("outcome") == "failed"
            elif trial.state == TrialState.RUNNING:
                self._put_back(trial.number, "interrupted")
        self.state.earlier = self.state.finished

    def _fill(self) -> None:
        state = self.state
        while len(state.running) < min(state.workers, self.study.budget.trials - state.finished):
            trial = self._ask()
            try:
                recipe: Recipe = self.space.suggest(trial)
            except Exception as error:
                self._tell(trial, Failed(f"space {self.study.space}: {type(error).__name__}: {error}"))
                continue
            folder = self.folder / f"trial-{trial.number:05}"
            folder.mkdir(exist_ok=True)
            recipe.save(folder / "recipe.toml")
            trial.set_user_attr("recipe", recipe.model_dump(mode="json"))
            job = Job(self.study, trial.number, recipe, folder, self.threads)
            begun = Progress("start", 0, 1, float("nan"))
            state.running[trial.number] = Running(trial, LocalTrial(job), time.monotonic(), begun)

    def _ask(self) -> optuna.Trial:
        """One that was put back, else the space's next known configuration, else a new one."""
        trials = self.stored.get_trials(deepcopy=False)
        known = getattr(self.space, "ENQUEUE", [])
        given = {t.user_attrs["known"] for t in trials if "known" in t.user_attrs}
        waiting = any(t.state == TrialState.WAITING for t in trials)
        if not waiting and len(given) < len(known):
            self.stored.enqueue_trial(known[len(given)], user_attrs={"known": len(given)})
        # A seed of its own for every trial: a resumed search asks as an undisturbed one would.
        self.stored.sampler = sampler(self.study.seed * 1_000_003 + len(trials))
        return self.stored.ask()

    def _collect(self, running: Running) -> None:
        for event in running.process.events():
            if isinstance(event, Progress):
                running.progress = event
            else:
                running.process.stop()
                self._tell(running.trial, event)

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        number = trial.number
        self.state.running.pop(number, None)
        attempt = trial.user_attrs.get("attempt", 0) + 1
        match outcome:
            case Done():
                self._tell_done(trial, outcome)
            case Killed() if attempt <= RETRIES:
                self._put_back(number, outcome.reason, attempt)
            case _:
                self._fail(number, "failed", outcome.reason)
                self.state.failed += 1
        self.view.told(self.state, number, outcome)

    def _tell_done(self, trial: optuna.Trial, outcome: Done) -> None:
        trial.set_user_attr("metrics", outcome.metrics)
        trial.set_user_attr("seconds", outcome.seconds)
        for constraint in self.study.constraints:
            trial.set_constraint(str(constraint), constraint.violation(outcome.metrics[constraint.key]))
        values = [outcome.metrics[o.key] for o in self.study.objectives]
        self.state.add([self.stored.tell(trial, values)])

    def _put_back(self, number: int, reason: str, attempt: int = 0) -> None:
        """Enqueue a trial's parameters again, then tell it failed; safe to be cut off in between."""
        trials = self.stored.get_trials(deepcopy=False)
        lost = trials[number]
        if not any(t.user_attrs.get("retry_of") == number for t in trials):
            attrs = {"retry_of": number, "attempt": attempt or lost.user_attrs.get("attempt", 0)}
            params = lost.system_attrs.get("fixed_params", {}) | lost.params
            self.stored.enqueue_trial(params, user_attrs=attrs)
        self._fail(number, "put back", reason)

    def _fail(self, number: int, outcome: str, reason: str) -> None:
        trial_id = self.stored.get_trials(deepcopy=False)[number]._trial_id
        self.stored._storage.set_trial_user_attr(trial_id, "outcome", outcome)
        self.stored._storage.set_trial_user_attr(trial_id, "reason", reason)
        self.stored.tell(number, state=TrialState.FAIL)


def sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Optuna's TPE over the whole space at once, split into the groups that its conditions make."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(multivariate=True, group=True, seed=seed)


def default_workers() -> int:
    """One trial a core, at most 4; one alone where there is a GPU."""
    return 1 if torch.cuda.is_available() else min(4, cores())
