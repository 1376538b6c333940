"""What a search found: a front of points, each with its figures, its recipe and its network."""

import io
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console
from torch import nn

from searcher import tasks
from searcher.compression.network import Network
from searcher.config.study import Study
from searcher.deploy.export import export
from searcher.deploy.folder import refuse_foreign
from searcher.deploy.package import ship
from searcher.deploy.pick import cost, pick
from searcher.deploy.remake import remake
from searcher.errors import SearcherError
from searcher.searching import pareto
from searcher.searching.records import TrialRecord
from searcher.searching.storage.studies import kept_identity
from searcher.ui.terminal.trials import complete_trials, frame, front_table
from searcher.wording import number

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = 100


class Point:
    """A trial that was measured.

    Attributes:
        number: The trial's, as `searcher show` has it.
        figures: Its metrics, by name.
        recipe: Its model and stages.
    """

    def __init__(self, study: Study, trial: FrozenTrial, runs: Path, fingerprint: str) -> None:
        record = TrialRecord.of(trial)
        self.number, self.figures, self.recipe = trial.number, dict(record.metrics), record.recipe
        self._study, self._trial, self._runs, self._fingerprint = study, trial, runs, fingerprint

    @property
    def model(self) -> nn.Module:
        """The network that was measured, on the CPU, in eval mode: in int8 where the recipe says so.

        It is made once, of the trained stages in the store of the runs folder. Nothing trains as long as the
        store has them; what it has no more (`searcher store gc`, or `store = false`) is trained again with
        the search's seed and epochs.

        Raises:
            SearcherError: The data or the model is gone or has changed.
        """
        return self._network.executed.eval()

    def export(self, folder: Path | str) -> list[Path]:
        """Write the files that ship: weights, ONNX, of an int8 network both models; and the recipe.

        The network is that of `model`, with the weights of the search; ``searcher retrain`` of the recipe
        trains for longer, and reads the test split.

        Args:
            folder: A new one, or one that this has written.

        Returns:
            The files.

        Raises:
            SearcherError: As for `model`; the folder has other files; or an ONNX file does not compute what
                the network does.
        """
        folder, task = Path(folder), tasks.of(self._study).load()
        refuse_foreign(folder)
        agreements = ship(export(self._study, self._trial, self._fingerprint), folder, self._network, task)
        if off := [name for name, agreement in agreements.items() if not agreement.holds]:
            raise SearcherError(
                f"trial {self.number}: {', '.join(off)} does not compute what the network does"
            )
        return sorted(folder.iterdir())

    @cached_property
    def _network(self) -> Network:
        return remake(self._study, self.recipe, self._runs, self._fingerprint)

    def __repr__(self) -> str:
        figures = ", ".join(f"{key} {number(value)}" for key, value in self.figures.items())
        return f"<trial {self.number}: {figures}: {self.recipe.words()}>"


class Front(Sequence[Point]):
    """The points of a search that no other one dominates, the lowest cost first.

    They satisfy the budgets; where no trial does, `feasible` is False, and they are the front without them.

    Attributes:
        name: Of the stored study, for `searcher show` and `searcher report`.
        feasible: Whether the points satisfy the budgets.
    """

    def __init__(self, runs: Path, stored: optuna.Study, study: Study) -> None:
        self.name = study.stored_name
        self._runs, self._stored, self._study = runs.absolute(), stored, study
        self._complete = complete_trials(stored)
        self._fingerprint = str(kept_identity(runs, stored)["data fingerprint"])
        found = pareto.front(study, self._complete)
        self.feasible = found.feasible
        self._trials = sorted(found.trials, key=lambda trial: cost(study, trial))
        self._points = [self._point(trial) for trial in self._trials]

    def best(self, choice: str = "best") -> Point:
        """The best quality within the budgets; where one says what quality is enough, the lowest cost.

        Args:
            choice: Another one, as ``searcher export --pick`` takes it: ``"knee"``, the point nearest to the
                best of everything; conditions such as ``"top1>=0.9"``; a trial's number.

        Raises:
            SearcherError: No trial satisfies them: says what came nearest.
        """
        trial = pick(self._study, self._complete, choice)
        return next((point for point in self._points if point.number == trial.number), self._point(trial))

    def frame(self) -> "DataFrame":
        """The points, a row each: figures, recipe in words, parameters of the space."""
        rows = frame(self._study, self._stored, every=False)
        places = {trial.number: place for place, trial in enumerate(self._trials)}
        return rows.sort_values("trial", key=lambda column: column.map(places), ignore_index=True)

    def _point(self, trial: FrozenTrial) -> Point:
        return Point(self._study, trial, self._runs, self._fingerprint)

    def __len__(self) -> int:
        return len(self._points)

    @overload
    def __getitem__(self, place: int) -> Point: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Point]: ...

    def __getitem__(self, place: int | slice) -> Point | Sequence[Point]:
        return self._points[place]

    def __repr__(self) -> str:
        text = io.StringIO()
        console = Console(file=text, width=_COLUMNS, color_system=None, force_jupyter=False)
        points = pareto.Front(self._trials, self.feasible)
        console.print(front_table(self._study, points, name=f"{self.name}, front"))
        return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
