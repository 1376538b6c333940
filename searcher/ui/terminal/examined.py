"""What was tried on a model, and what came out."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from searcher.deploy.doctor import Finding


def table(title: str, findings: Sequence[Finding]) -> Table:
    """A row for each thing that was tried."""
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("tried", no_wrap=True)
    drawn.add_column("", no_wrap=True)
    drawn.add_column("", overflow="fold")
    for one in findings:
        mark = Text("works", style="green") if one.works else Text("fails", style="red")
        drawn.add_row(one.what, mark, Text(one.note))
    return drawn
