"""The driver of one study: asks for trials, screens and starts each, hears it, and tells what came of it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.config.toml import raised
from searcher.errors import SearcherError, TrialError
from searcher.execution.launcher import Launcher
from searcher.execution.messages import Done, Failed, Infeasible, Killed, Outcome, Progress, Reused, Stopped
from searcher.execution.results import stored_outcome
from searcher.searching.ask import sources
from searcher.searching.came_with import learn_costs
from searcher.searching.early_stopping import EarlyStopping
from searcher.searching.loading import Space
from searcher.searching.records import CAME_WITH, FAILED, TrialRecord, ended
from searcher.searching.screening import Screen, Screened, tried_before
from searcher.searching.starting import Starter
from searcher.searching.state import Running, State, View
from searcher.searching.storage import driver_lock
from searcher.searching.storage.trials import StoredTrials
from searcher.searching.variants import Variants

RETRIES = 2
"""The number of times that a killed trial is tried again."""

MAX_REFUSED_IN_A_ROW = 200
"""After so many recipes in a row that cannot be feasible, a search ends."""


class Driver:
    """One study's trials: asks, screens, starts, hears and tells."""

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
        self.screen = Screen(study)
        self.starter = Starter(study, folder, launcher, self.screen)
        variants = Variants(study, space.suggest, self.screen, self.starter.place)
        self.sources = sources(study, space, self.trials, variants)
        self.stopping = EarlyStopping(study, self.trials, self.screen)
        self.came_with = learn_costs(study, space)
        self.refused = 0
        self.cancelled = False

    def begin(self) -> None:
        """Take up what an earlier driver has left: what ended counts, what was running is settled."""
        driver_lock.uncancel(self.folder)
        self.trials.finish_half_told()
        if self.came_with:
            self.trials.stored.set_user_attr(CAME_WITH, self.came_with)
        over = ended(self.trials.all())
        for trial in over.complete:
            self._learn(TrialRecord.of(trial), TrialRecord.of(trial).metrics)
        self.state.restore(over)
        self.stopping.restore(over)
        for trial in self.trials.running():
            self._settle(trial)
        self.state.earlier = self.state.finished

    def _learn(self, record: TrialRecord, metrics: Mapping[str, float]) -> None:
        """Have the relative budgets know the figures of the model as it came, where these are they."""
        came = self.space.as_it_came
        if came and record.stored_recipe == came.model_dump(mode="json"):
            self.came_with = dict(metrics) | self.came_with
            self.study.learn(self.came_with)
            self.trials.stored.set_user_attr(CAME_WITH, self.came_with)

    def _settle(self, left: FrozenTrial) -> None:
        """Tell what came of a trial that ran under an earlier driver, find it again, or put it back."""
        trial, record = self.trials.reopen(left), TrialRecord.of(left)
        place = self.starter.place(left.number)
        if done := stored_outcome(place, record.recipe) if record.has_recipe else None:
            self._learn(record, done.metrics)
            self.state.add([self.trials.complete(trial, done)])
        elif record.outcome == FAILED:
            self.trials.fail(trial, record.reason or "")
            self.state.failed += 1
        elif found := self.starter.attach(trial):
            self.state.running[left.number] = found
        else:
            self.trials.put_back(trial, "interrupted")

    @property
    def alive(self) -> bool:
        """Whether there is anything left to do."""
        return not self.cancelled and (bool(self.state.running) or self._more)

    @property
    def _more(self) -> bool:
        wanted = self.study.budget.trials - self.state.finished - len(self.state.running)
        return wanted > 0 or self.stopping.promotable

    def start_one(self) -> bool:
        """Consider one more trial; False where none is wanted."""
        if self.cancelled or not self._more:
            return False
        if self.stopping.promote():
            self.state.stopped -= 1
        trial = self._ask()
        recipe = self._suggest(trial)
        found = self._look(trial, recipe) if isinstance(recipe, Recipe) else recipe
        if isinstance(found, Screened):
            self.refused = 0
            remember = partial(self.trials.submitted, trial)
            self.state.running[trial.number] = self.starter.start(trial, found, remember)
        else:
            if not isinstance(found, Infeasible):
                self.refused = 0
            self._tell(trial, found)
        return True

    def _ask(self) -> optuna.Trial:
        """A trial of the first source that has one."""
        return next(trial for source in self.sources if (trial := source.next(self.state.front)))

    def _suggest(self, trial: optuna.Trial) -> Recipe | Failed:
        """The recipe that the space suggests."""
        try:
            recipe = self.space.suggest(trial)
            if not isinstance(recipe, Recipe):
                raise TypeError(f"suggest returned {recipe!r}, expected a Recipe")
        except ValidationError as error:
            return Failed(f"space {self.study.space}: {raised(error)}")
        except (Exception, SystemExit) as error:
            return Failed(f"space {self.study.space}: {type(error).__name__}: {error}")
        self.trials.suggested(trial, recipe)
        return recipe

    def _look(self, trial: optuna.Trial, recipe: Recipe) -> Screened | Outcome:
        """The prediction by which a recipe is started, or its outcome where nothing needs to be trained."""
        screens = self.study.screening and not TrialRecord.of(trial).retried
        if screens and (before := tried_before(recipe, self.trials.all())):
            return Reused(before.number)
        try:
            screened = self.screen.look(recipe)
        except (TrialError, SearcherError) as error:
            return Failed(f"{type(error).__name__}: {error}".splitlines()[0])
        # What the budgets are relative to need not satisfy them.
        screens = screens and recipe != self.space.as_it_came
        return screened.infeasible if screens and screened.infeasible else screened

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
        recipe = running.process.job.recipe
        if self.stopping.goes_on(running.trial, recipe, event) or recipe == self.space.as_it_came:
            running.process.go_on(event.rung)
            return True
        # In this order: a driver that dies in between finds what it has decided.
        self._tell(running.trial, Stopped(event.rung))
        running.process.stop()
        return False

    def _tell(self, trial: optuna.Trial, outcome: Outcome) -> None:
        """Store what came of a trial, count it, and show it."""
        running, state = self.state.running.get(trial.number), self.state
        spent = running.progress.cpu_seconds if running else 0.0
        state.cpu_seconds += outcome.cpu_seconds if isinstance(outcome, Done) else spent
        attempt = TrialRecord.of(trial).attempt + 1
        match outcome:
            case Done():
                self._learn(TrialRecord.of(trial), outcome.metrics)
                state.add([self.trials.complete(trial, outcome)])
            case Reused():
                self._reuse(trial, outcome.number)
            case Stopped():
                self.trials.stop(trial, f"after {outcome.rung} epochs", cpu_seconds=spent)
                state.stopped += 1
            case Infeasible():
                self.trials.refuse(trial, outcome)
                state.infeasible += 1
                self.refused += 1
            case Killed(counts=False):
                self.trials.put_back(trial, outcome.reason)
            case Killed() if attempt <= RETRIES:
                self.trials.put_back(trial, outcome.reason, attempt)
            case Failed() | Killed():
                outcome = Failed(outcome.reason)
                self.trials.fail(trial, outcome.reason)
                state.failed += 1
        state.running.pop(trial.number, None)
        self.view.told(state, trial.number, outcome)
        if isinstance(outcome, Infeasible) and self.refused >= MAX_REFUSED_IN_A_ROW:
            raise SearcherError(
                f"{MAX_REFUSED_IN_A_ROW} recipes in a row cannot satisfy a constraint on cost, the last one "
                f"{outcome.reason}: loosen the constraint, or let the space suggest smaller networks"
            )

    def _reuse(self, trial: optuna.Trial, number: int) -> None:
        """Tell what came of the same recipe before."""
        before = self.trials.all()[number]
        if before.state == TrialState.COMPLETE:
            record = TrialRecord.of(before)
            done = Done(record.metrics, 0.0, 0.0, record.measured)
            self.state.add([self.trials.complete(trial, done, reused=number)])
            self.state.reused += 1
        else:
            self.trials.stop(trial, f"as trial {number}", reused=number)
            self.state.stopped += 1

    def end(self) -> None:
        """Tell what can be told; what still runs is stopped and put back, or goes on without a driver."""
        self.collect()
        if self.launcher.outlive and not self.cancelled:
            return
        for running in list(self.state.running.values()):
            running.process.stop()
            self.trials.put_back(running.trial, "cancelled" if self.cancelled else "interrupted")
