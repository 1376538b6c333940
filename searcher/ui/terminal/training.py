"""A retraining on the terminal: a bar for the stage that runs, or a line for each that is done."""

import math
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from searcher.wording import number, several


class TrainingView:
    """Shows the epochs of every stage of every seed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: dict[str, TaskID] = {}
        self._step: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[reached]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Callable[[int, str, int, int, float], None]:
        self._progress.start()
        return self.report

    def __exit__(self, *error: object) -> None:
        self._end_step()
        self._progress.stop()

    def report(self, seed: int, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """Take a step, as `searcher.deploy.retrain.retrain` reports it; one without epochs has no figures."""
        name = f"seed {seed}, {stage}"
        self._end_step()
        if self._console.is_terminal:
            self._draw(name, epoch, epochs, accuracy)
        elif epoch == epochs or math.isnan(accuracy):
            said = f"{several(epochs, 'epoch')}, {_validation(accuracy)}" if epoch else "…"
            self._console.print(f"{name}: {said}", highlight=False)

    def _draw(self, name: str, epoch: int, epochs: int, accuracy: float) -> None:
        step = not epoch and math.isnan(accuracy)
        if name not in self._bars:
            total = None if step else epochs  # without a total the bar pulses
            self._bars[name] = self._progress.add_task(name, total=total, reached="")
        self._progress.update(self._bars[name], completed=epoch, reached=_validation(accuracy))
        self._step = self._bars[name] if step else None

    def _end_step(self) -> None:
        """A step is over when the next one is reported."""
        if self._step is not None:
            self._progress.update(self._step, total=1, completed=1)
            self._step = None


def _validation(accuracy: float) -> str:
    return "" if math.isnan(accuracy) else f"validation {number(accuracy)}"
