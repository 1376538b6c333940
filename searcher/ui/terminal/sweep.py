"""A sweep as lines and as a table."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from searcher.config.study import Study
from searcher.execution.messages import Done, Progress
from searcher.searching.sweep import Row, Setting, cells
from searcher.wording import number, so_far


def line(row: Row, study: Study) -> str:
    """One recipe's outcome."""
    if not isinstance(row.outcome, Done):
        return f"{row.value}: {getattr(row.outcome, 'reason', 'failed')}"
    figures = ", ".join(f"{o.key} {number(row.outcome.metrics[o.key])}" for o in study.objectives)
    return f"{row.value}: {figures}, {row.outcome.seconds:.0f} s"


class SweepView:
    """A line for every recipe that is done, and one for the epochs of the one that runs.

    Without a terminal each epoch has a line of its own, on standard error: what is printed is the same
    whether a recipe is run or was run before.
    """

    def __init__(self, console: Console, errors: Console, study: Study) -> None:
        self._console, self._errors, self._study = console, errors, study
        self._status = console.status("loading …")
        self._said = ""

    def __enter__(self) -> "SweepView":
        self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._status.stop()

    def progress(self, value: Any, progress: Progress) -> None:
        """Say where the recipe with that value is."""
        text = f"{value}: {so_far(progress.stage, progress.epoch, progress.epochs, progress.accuracy)}"
        if self._console.is_terminal:
            self._status.update(escape(text))
        elif text != self._said:
            self._errors.print(text, highlight=False, markup=False, soft_wrap=True)
        self._said = text

    def told(self, row: Row) -> None:
        """Print the line of a recipe that is done."""
        self._console.print(line(row, self._study), highlight=False, markup=False)


def table(rows: Sequence[Row], study: Study, settings: Sequence[Setting]) -> Table:
    """A row a value, a column a metric."""
    swept = next((s for s in settings if len(s.values) > 1), settings[0])
    shown = Table(
        title=f"{study.stored_name}, {swept.name}", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    keys = [m.key for m in study.measured()]
    for name in (swept.parameter, *keys):
        shown.add_column(name.replace("_", "\n").replace(":", "\n"), justify="right", overflow="fold")
    for row in cells(rows, study):
        values = ("–" if row[key] is None else number(row[key]) for key in keys)
        shown.add_row(str(row["value"]), *values)
    return shown


def frame(rows: Sequence[Row], study: Study) -> pd.DataFrame:
    """The same as a table of numbers, with each recipe in words."""
    return pd.DataFrame(cells(rows, study)).assign(recipe=[row.recipe.words() for row in rows])


def is_table(content: bytes) -> bool:
    """Whether this is such a table as CSV, of any metrics."""
    return content.startswith(b"value,")
