"""The driver of one study: asks Optuna for trials, starts each, hears and tells what comes of it."""

import shutil
import time
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.costs.op import Prediction
from searcher.errors import SearcherError, TrialError
from searcher.execution.launcher import Launcher, RunningTrial
from searcher.execution.layout import STORE, trial_folder
from searcher.execution.messages import (
    Done,
    Failed,
    Infeasible,
    Job,
    Killed,
    Outcome,
    Progress,
    Reused,
    Stopped,
)
from searcher.search.ask import Asker
from searcher.search.check import Space
from searcher.search.early_stopping import Rungs
from searcher.search.records import PROMOTED_FROM, TrialRecord
from searcher.search.recovery import recover
from searcher.search.screening import Screen, Screened, tried_before
from searcher.search.state import Running, State, View
from searcher.search.storage import driver_lock
from searcher.search.storage.trials import StoredTrials
from searcher.search.variants import Variants

RETRIES = 2
"""How often a trial that was killed is tried again."""

REFUSED = 200
"""After so many recipes in a row that cannot be feasible, a search ends."""


class Driver:
    """One study's trials: asks, starts, hears and tells."""

    def __init__(
        self,
        study: Study,
        stored: optuna.Study,
        space: Space,
        folder: Path,
        launcher: Launcher,
        view: View,
    ) -> None:
        self.study, self.space, self.folder = study, space, folder
        self.launcher, self.view = launcher, view
        self.state = State(study, launcher.workers)
        self.trials = StoredTrials(study, stored)
        self.asker = Asker(study, self.trials, space)
        self.screen = Screen(study)
        self.variants = Variants(study, space.suggest, self.screen, self._place)
        self.rungs = Rungs(study.early_stopping.reduction_factor)
        self.refused = 0
        self.cancelled = False

    def begin(self) -> None:
        """Take up what an earlier driver has left."""
        driver_lock.uncancel(self.folder)
        recover(self.trials, self.folder, self.state, self.rungs, self._attach)

    def end(self) -> None:
        """Tell what can be told; what still runs is stopped and put back, or goes on without a driver."""
        self.collect()
        if self.launcher.outlive and not self.cancelled:
            return
        for running in list(self.state.running.values()):
            running.process.stop()
            self.trials.put_back(running.trial, "cancelled" if self.cancelled else "interrupted")

    @property
    def alive(self) -> bool:
        """Whether there is anything left to do."""
        return not self.cancelled and (bool(self.state.running) or self._more)

    @property
    def _wanted(self) -> int:
        """Trials that are still to be started."""
        return self.study.budget.trials - self.state.finished - len(self.state.running)

    @property
    def _more(self) -> bool:
        return self._wanted > 0 or self.rungs.promotable() is not None

    def start_one(self) -> bool:
        """Consider one more trial; False where none is wanted."""
        if self.cancelled or not self._more:
            return False
        self._promote()
        trial = self._next()
        try:
            recipe = self.space.suggest(trial)
            if not isinstance(recipe, Recipe):
                raise TypeError(f"suggest returned {recipe!r}, expected a Recipe")
        except (Exception, SystemExit) as error:
            self._tell(trial, Failed(f"space {self.study.space}: {type(error).__name__}: {error}"))
        else:
            self._consider(trial, recipe)
        return True

    def _next(self) -> optuna.Trial:
        return (
            self.asker.waiting() or self.asker.known() or self._variant() or self.asker.new(self.state.front)
        )

    def _variant(self) -> optuna.Trial | None:
        found = self.variants.best(self.state.front, self.trials.all())
        return self.trials.new(found.params, found.attributes) if found else None

    def _promote(self) -> None:
        """Put back what was stopped at a rung, where it is now among the best there."""
        found = self.rungs.promotable()
        if found:
            ordinal, level = found
            self.rungs.promote(ordinal, level)
            stopped = [t for t in self.trials.all() if TrialRecord.of(t).ordinal == ordinal][-1]
            self.trials.again(stopped.number, {PROMOTED_FROM: stopped.number})
            self.state.stopped -= 1

    def _consider(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Start a trial, unless what comes of it is known already."""
        before = tried_before(recipe, self.trials.all()) if self._screens(trial) else None
        self.trials.started(trial, recipe)
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
        return self.study.screening and not TrialRecord.of(trial).retried

    def _reuse(self, trial: optuna.Trial, before: FrozenTrial) -> None:
        """Tell what came of the same recipe before."""
        told, state = TrialRecord.of(before), self.state
        if before.state == TrialState.COMPLETE:
            done = Done(told.metrics, 0.0, 0.0, told.measured)
            state.add([self.trials.complete(trial, done, reused=before.number)])
            state.reused += 1
        else:
            self.trials.stop(trial, f"as trial {before.number}", reused=before.number)
            state.stopped += 1
        self.view.told(state, trial.number, Reused(before.number))

    def _refuse(self, trial: optuna.Trial, outcome: Infeasible, predicted: dict[str, float]) -> None:
        self.trials.refuse(trial, outcome.reason, predicted)
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
        job = self._job(trial, recipe, screened)
        process = self.launcher.start(job, partial(self.trials.submitted, trial))
        self._runs(trial, process, screened)

    def _runs(self, trial: optuna.Trial, process: RunningTrial, screened: Screened) -> None:
        begun = Progress("start", 0, 1, float("nan"))
        self.state.running[trial.number] = Running(
            trial, process, time.monotonic(), begun, screened.predicted
        )

    def _job(self, trial: optuna.Trial | FrozenTrial, recipe: Recipe, screened: Screened) -> Job:
        known = bool(screened.predicted)
        # To stop what needs no training saves nothing.
        halving = known and not TrialRecord.of(trial).is_variant
        return Job(
            self.study,
            trial.number,
            recipe,
            self._place(trial.number),
            self.launcher.threads(self.study),
            self.folder.parent / STORE if self.study.store else None,
            self.study.early_stopping.rungs(self.study.budget.epochs) if halving else (),
            screened.prediction if known else None,
        )

    def _attach(self, trial: FrozenTrial) -> bool:
        """Find a trial again that another driver has started, where it outlived that one."""
        record = TrialRecord.of(trial)
        if not record.job:
            return False
        recipe = record.recipe
        try:
            screened = self.screen.look(recipe)
        except (TrialError, SearcherError) as error:
            screened = Screened(Prediction(None, str(error)), {}, None)
        found = self.launcher.attach(self._job(trial, recipe, screened), record.job)
        if found:
            self._runs(self.trials.reopen(trial), found, screened)
        return found is not None

    def collect(self) -> None:
        """Hear what the trials say, and whether the study is cancelled."""
        self.cancelled = self.cancelled or driver_lock.is_cancelled(self.folder)
        for running in list(self.state.running.values()):
            for event in running.process.events():
                if isinstance(event, Progress):
                    running.progress = event
                    if event.rung and not self._goes_on(running, event):
                        break
                else:
                    running.process.stop()
                    self._tell(running.trial, event)
        self.view.update(self.state)

    def _goes_on(self, running: Running, event: Progress) -> bool:
        """Let a trial at a rung go on, or stop it."""
        trial = running.trial
        made = self.screen.so_far(running.process.job.recipe, event.rung)
        if not made:  # what cannot be judged is not stopped
            running.process.go_on(event.rung)
            return True
        point = self.screen.point(event.accuracy, made)
        self.trials.at_rung(trial, event.rung, point)
        if self.rungs.arrive(TrialRecord.of(trial).ordinal, event.rung, point):
            running.process.go_on(event.rung)
            return True
        # In this order: a driver that dies in between finds what it has decided.
        self._tell(trial, Stopped(event.rung))
        running.process.stop()
        return False

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        attempt = TrialRecord.of(trial).attempt + 1
        running = self.state.running.get(trial.number)
        spent = running.progress.cpu_seconds if running else 0.0
        self.state.cpu_seconds += outcome.cpu_seconds if isinstance(outcome, Done) else spent
        match outcome:
            case Done():
                self.state.add([self.trials.complete(trial, outcome)])
            case Stopped():
                reason = f"after {outcome.rung} epochs"
                self.trials.stop(trial, reason, cpu_seconds=spent)
                self.state.stopped += 1
            case Killed(counts=False):
                self.trials.put_back(trial, outcome.reason)
            case Killed() if attempt <= RETRIES:
                self.trials.put_back(trial, outcome.reason, attempt)
            case Failed() | Killed():
                outcome = Failed(outcome.reason)
                self.trials.fail(trial, outcome.reason)
                self.state.failed += 1
        self.state.running.pop(trial.number, None)
        self.view.told(self.state, trial.number, outcome)

    def _place(self, number: int) -> Path:
        return trial_folder(self.folder, number)
