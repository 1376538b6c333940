"""A study's trials as jobs: started by its launcher, or found again where they outlived their driver."""

import shutil
import time
from pathlib import Path

import optuna

from searcher.config.study import Study
from searcher.costs.op import Prediction
from searcher.errors import SearcherError, TrialError
from searcher.execution.launcher import Launcher, Remember, RunningTrial
from searcher.execution.layout import STORE, trial_folder
from searcher.execution.messages import Job, Progress
from searcher.searching.records import TrialRecord
from searcher.searching.screening import Screen, Screened
from searcher.searching.state import Running


class Starter:
    """Makes the jobs of a study's trials.

    Args:
        study: The study.
        folder: The study's, which the trials' folders are in.
        launcher: Where the trials run.
        screen: Predicts what they will execute.
    """

    def __init__(self, study: Study, folder: Path, launcher: Launcher, screen: Screen) -> None:
        self._study, self._folder, self._launcher, self._screen = study, folder, launcher, screen

    def place(self, number: int) -> Path:
        """The folder of a trial."""
        return trial_folder(self._folder, number)

    def start(self, trial: optuna.Trial, screened: Screened, remember: Remember) -> Running:
        """Start a trial in a folder of its own, which is emptied."""
        folder = self.place(trial.number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        screened.recipe.save(folder / "recipe.toml")
        return _running(trial, self._launcher.start(self._job(trial, screened), remember), screened)

    def attach(self, trial: optuna.Trial) -> Running | None:
        """Find a trial again that another driver has started; None where it did not outlive that one.

        Raises:
            SearcherError: It runs where this launcher cannot look.
        """
        record = TrialRecord.of(trial)
        if not record.job:
            return None
        try:
            screened = self._screen.look(record.recipe)
        except (TrialError, SearcherError) as error:
            screened = Screened(record.recipe, Prediction(None, str(error)), {}, {}, None)
        found = self._launcher.attach(self._job(trial, screened), record.job)
        return _running(trial, found, screened) if found else None

    def _job(self, trial: optuna.Trial, screened: Screened) -> Job:
        study, known = self._study, bool(screened.predicted)
        # To stop what needs no training saves nothing.
        halving = known and not TrialRecord.of(trial).is_variant
        return Job(
            study,
            trial.number,
            screened.recipe,
            self.place(trial.number),
            self._launcher.threads(study),
            self._folder.parent / STORE if study.store else None,
            study.early_stopping.rungs(study.budget.epochs) if halving else (),
            screened.prediction if known else None,
        )


def _running(trial: optuna.Trial, process: RunningTrial, screened: Screened) -> Running:
    begun = Progress("start", 0, 1, float("nan"))
    return Running(trial, process, time.monotonic(), begun, screened.predicted)
