"""A sweep as lines and as a table."""

from collections.abc import Sequence

import pandas as pd
from rich.table import Table

from searcher.messages import Done
from searcher.study import Study
from searcher.sweep import Row, Setting, cells
from searcher.wording import number


def line(row: Row, study: Study) -> str:
    """What came of one recipe."""
    if not isinstance(row.outcome, Done):
        return f"{row.value}: {getattr(row.outcome, 'reason', 'failed')}"
    figures = ", ".join(f"{o.key} {number(row.outcome.metrics[o.key])}" for o in study.objectives)
    return f"{row.value}: {figures}, {row.outcome.seconds:.0f} s"


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
