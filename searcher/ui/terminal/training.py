"""A retraining on the terminal: a line for every stage and step that is done, a bar for the one that runs."""

import math
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from searcher.wording import duration, number, several

MIN_SECONDS = 1.0
"""What takes longer says how long it took."""


class TrainingView:
    """Shows the epochs of every stage of every seed, and the steps before and after them.

    Without a terminal the line of what runs is begun at its beginning, and ended with what came of it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name, self._started, self._said = "", 0.0, False
        self._bar: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[reached]}"),
            _Clock(),
            console=console,
            expand=True,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "TrainingView":
        self._progress.start()
        return self

    def __exit__(self, error: object, *details: object) -> None:
        self._end("stopped" if error else "")
        self._progress.stop()

    def report(self, seed: int, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """Take an epoch, as `searcher.deploy.retrain.retrain` reports it; one without is a step."""
        name = f"seed {seed}, {stage}"
        if not epoch:
            self.step(name)
            return
        reached = "" if math.isnan(accuracy) else f", validation {number(accuracy)}"
        self._begin(name)
        self._draw(epoch, epochs, reached)
        if epoch == epochs:
            self._end(several(epochs, "epoch") + reached)
            self._begin(f"seed {seed}, next stage", said=False)

    def step(self, name: str, done: int = 0, count: int = 0) -> None:
        """Take a step; it is over when the next one is told."""
        self._begin(name)
        self._draw(done, count, "")

    def _begin(self, name: str, said: bool = True) -> None:
        if name == self._name:
            return
        goes_on = bool(self._name) and not self._said  # what has no line of its own belongs to what follows
        self._end()
        self._started = self._started if goes_on else time.monotonic()
        self._name, self._said = name, said
        if self._console.is_terminal:
            self._bar = self._progress.add_task(name, total=None, reached="")  # without a total it pulses
        elif said:
            self._print(f"{name} …", end="")

    def _draw(self, done: int, count: int, reached: str) -> None:
        if self._bar is not None and count:
            counts = f"{done:,}/{count:,}{reached}"
            self._progress.update(self._bar, completed=done, total=count, reached=counts)

    def _end(self, result: str = "") -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        seconds = time.monotonic() - self._started
        parts = [result, duration(seconds) if seconds >= MIN_SECONDS else ""]
        told = ", ".join(part for part in parts if part)
        if self._said and self._console.is_terminal:
            self._print(f"{self._name}: {told}" if told else self._name)
        elif self._said:
            self._print(f" {told}" if told else "")
        self._name, self._said, self._bar = "", False, None

    def _print(self, text: str, end: str = "\n") -> None:
        self._console.print(text, end=end, highlight=False, markup=False)


class _Clock(ProgressColumn):
    """The time left, where that is known; else the time gone."""

    def __init__(self) -> None:
        super().__init__()
        self._left, self._gone = TimeRemainingColumn(), TimeElapsedColumn()

    def render(self, task: Task) -> Text:
        return (self._gone if task.time_remaining is None else self._left).render(task)
