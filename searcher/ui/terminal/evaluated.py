"""The figures of a network as it came, in floating point beside int8."""

from collections.abc import Mapping

from rich import box
from rich.table import Table

from searcher.deploy.evaluate import Evaluated
from searcher.tasks.base import Figure
from searcher.wording import number


def table(found: Evaluated, labels: Mapping[str, Figure]) -> Table:
    """A row a figure, a column an arithmetic.

    Args:
        found: The evaluations.
        labels: The task's figures of quality by name, in the order in which they are shown.
    """
    title = f"{found.model} on {found.images:,} {found.split} images of {found.task}"
    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    drawn.add_column("figure", overflow="fold")
    for one in found.evaluations:
        drawn.add_column(one.arithmetic, justify="right", no_wrap=True)
    names = [*labels, *(n for n in found.evaluations[0].quality if n not in labels)]
    for name in names:
        values = [one.quality.get(name) for one in found.evaluations]
        if any(value is not None for value in values):
            figure = labels.get(name)
            percent = figure is not None and figure.unit == "%"
            said = ["" if v is None else f"{v:.2%}" if percent else number(v) for v in values]
            drawn.add_row(figure.label if figure else name, *said)
    drawn.add_section()
    first = found.evaluations[0]
    for name in first.cost:
        drawn.add_row(name, *(_count(one.cost[name]) for one in found.evaluations))
    drawn.add_row("latency, ms", *(f"{one.latency_ms:.3f}" for one in found.evaluations))
    drawn.add_row("memory, MB", *(f"{one.memory_mb:.1f}" for one in found.evaluations))
    drawn.add_section()
    for name in first.scores:
        drawn.add_row(name, *(f"{one.scores[name]:.5g}" for one in found.evaluations))
    return drawn


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.4f}"
