"""The driver: one loop that asks Optuna for trials, runs each as a job, and tells what came out."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from searcher import storage
from searcher.ask import Asker, known_front
from searcher.check import Space, check_parts, identify
from searcher.errors import SearcherError, TrialError
from searcher.launch import LocalTrial, cores, start_server, wait_for
from searcher.measure import timed
from searcher.recipe import Recipe
from searcher.recover import place, put_back, recover
from searcher.rungs import Rungs
from searcher.screen import Screen, Screened, tried_before
from searcher.state import Running, State, View
from searcher.study import Study
from searcher.tell import Teller
from searcher.trial import Done, Failed, Infeasible, Job, Killed, Outcome, Progress, Reused, Stopped

RETRIES = 2
"""How often a trial that was killed is tried again."""

REFUSED = 200
"""After so many recipes in a row that cannot be feasible, a search ends."""


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
        warm = known_front(runs, study.warm_start.study) if study.warm_start else []
        folder = runs.absolute() / study.stored_name
        with storage.one_driver(folder):
            stored = storage.create_or_load(runs, study, identity)
            if "warm_start" not in stored.user_attrs:
                stored.set_user_attr("warm_start", warm)
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
        self.asker, self.teller = Asker(study, stored, space), Teller(study, stored)
        self.screen = Screen(study)
        self.rungs = Rungs(study.early_stopping.reduction_factor)
        self.refused = 0

    def run(self, interrupted: threading.Event) -> State:
        recover(self.stored, self.folder, self.state, self.asker, self.teller, self.rungs)
        state = self.state
        try:
            while not interrupted.is_set() and (state.running or self._more):
                self._fill(interrupted)
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

    @property
    def _more(self) -> bool:
        return self._wanted > 0 or self.rungs.promotable() is not None

    def _fill(self, interrupted: threading.Event) -> None:
        while len(self.state.running) < self.state.workers and self._more and not interrupted.is_set():
            self._promote()
            trial = self.asker.waiting() or self.asker.new(self.state.front)
            try:
                recipe = self.space.suggest(trial)
            except Exception as error:
                self._tell(trial, Failed(f"space {self.study.space}: {type(error).__name__}: {error}"))
            else:
                self._consider(trial, recipe)

    def _promote(self) -> None:
        """Put back what was stopped at a rung, where it is now among the best there."""
        found = self.rungs.promotable()
        if found:
            ordinal, level = found
            self.rungs.promote(ordinal, level)
            stopped = [t for t in self._trials() if t.user_attrs.get("ordinal") == ordinal][-1]
            self.asker.again(stopped.number, {"promoted_from": stopped.number})
            self.state.stopped -= 1

    def _consider(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Start a trial, unless what comes of it is known already."""
        before = tried_before(recipe, self._trials()) if self._screens(trial) else None
        trial.set_user_attr("recipe", recipe.model_dump(mode="json"))
        if before:
            self._reuse(trial, before)
            return
        try:
            screened = self.screen.look(recipe)
        except (TrialError, SearcherError) as error:
            self._tell(trial, Failed(f"{type(error).__name__}: {error}".splitlines()[0]))
            return
        if screened.infeasible and self._screens(trial):
            self._refuse(trial, screened.infeasible, screened.predicted)
        else:
            self.refused = 0
            self._start(trial, recipe, screened)

    def _screens(self, trial: optuna.Trial) -> bool:
        again = {"retry_of", "promoted_from"} & set(trial.user_attrs)
        return self.study.screening and not again

    def _reuse(self, trial: optuna.Trial, before: FrozenTrial) -> None:
        """Tell what came of the same recipe before."""
        told, state = before.user_attrs, self.state
        if before.state == TrialState.COMPLETE:
            done = Done(told["metrics"], 0.0, 0.0, told.get("measured", {}))
            state.add([self.teller.done(trial, done, reused=before.number)])
            state.reused += 1
        else:
            self.teller.stopped(trial, f"as trial {before.number}", reused=before.number)
            state.stopped += 1
        self.view.told(state, trial.number, Reused(before.number))

    def _refuse(self, trial: optuna.Trial, outcome: Infeasible, predicted: dict[str, float]) -> None:
        self.teller.infeasible(trial, outcome, predicted)
        self.state.infeasible += 1
        self.refused += 1
        self.view.told(self.state, trial.number, outcome)
        if self.refused >= REFUSED:
            raise SearcherError(
                f"{REFUSED} recipes in a row cannot satisfy a constraint on cost, the last one "
                f"{outcome.reason}: loosen the constraint, or let the space suggest smaller networks"
            )

    def _start(self, trial: optuna.Trial, recipe: Recipe, screened: Screened) -> None:
        folder = self._place(trial.number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        recipe.save(folder / "recipe.toml")
        known = bool(screened.predicted)
        job = Job(
            self.study,
            trial.number,
            recipe,
            folder,
            self.threads,
            self.folder.parent / storage.STORE if self.study.store else None,
            self.study.early_stopping.rungs(self.study.budget.epochs) if known else (),
            screened.prediction if known else None,
        )
        begun = Progress("start", 0, 1, float("nan"))
        running = Running(trial, LocalTrial(job), time.monotonic(), begun, screened.predicted)
        self.state.running[trial.number] = running

    def _collect(self) -> None:
        for running in list(self.state.running.values()):
            for event in running.process.events():
                if isinstance(event, Progress):
                    running.progress = event
                    if event.rung and not self._goes_on(running, event):
                        break
                else:
                    running.process.stop()
                    self._tell(running.trial, event)

    def _goes_on(self, running: Running, event: Progress) -> bool:
        """Let a trial at a rung go on, or stop it."""
        trial = running.trial
        made = self.screen.so_far(running.process.job.recipe, event.rung)
        point = self.screen.point(event.accuracy, made)
        trial.set_user_attr(f"rung:{event.rung}", point)
        if self.rungs.arrive(trial.user_attrs["ordinal"], event.rung, point):
            running.process.go_on()
            return True
        running.process.stop()
        self._tell(trial, Stopped(event.rung))
        return False

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        attempt = trial.user_attrs.get("attempt", 0) + 1
        running = self.state.running.get(trial.number)
        spent = running.progress.cpu_seconds if running else 0.0
        self.state.cpu_seconds += outcome.cpu_seconds if isinstance(outcome, Done) else spent
        match outcome:
            case Done():
                self.state.add([self.teller.done(trial, outcome)])
            case Stopped():
                reason = f"after {outcome.rung} epochs"
                self.teller.stopped(trial, reason, cpu_seconds=spent)
                self.state.stopped += 1
            case Killed() if attempt <= RETRIES:
                self._put_back(trial.number, outcome.reason, attempt)
            case Failed() | Killed():
                outcome = Failed(outcome.reason)
                self.teller.failed(trial.number, "failed", outcome.reason)
                self.state.failed += 1
        self.state.running.pop(trial.number, None)
        self.view.told(self.state, trial.number, outcome)

    def _put_back(self, number: int, reason: str, attempt: int | None = None) -> None:
        put_back(self.asker, self.teller, self._trials(), number, reason, attempt)

    def _trials(self) -> list[FrozenTrial]:
        return self.stored.get_trials(deepcopy=False)

    def _place(self, number: int) -> Path:
        return place(self.folder, number)


def default_workers(study: Study) -> int:
    """One trial a core, at most 4; one alone where there is a GPU, or where trials are timed."""
    alone = torch.cuda.is_available() or timed(study.measured())
    return 1 if alone else min(4, cores())
