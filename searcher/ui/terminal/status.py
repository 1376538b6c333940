"""A table of stored studies' progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from searcher.searching.status import Status
from searcher.wording import duration

WIDE_COLUMNS = 110
"""Columns of a console from which on a table has room for words."""


@dataclass(frozen=True)
class StatusTable:
    """A row a study; on a narrow console what is said in words stands in a list below."""

    found: Sequence[Status]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE_COLUMNS
        rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        rows.add_column("study", overflow="fold")
        rows.add_column("done", justify="right", no_wrap=True)
        if wide:
            rows.add_column("of them")
        for name in ("front", "hypervolume", "left"):
            rows.add_column(name, justify="right", no_wrap=True)
        if wide:
            rows.add_column("driver")
        for one in self.found:
            done, *rest = _figures(one)
            words = [[one.counts], [_driver(one)]] if wide else [[], []]
            rows.add_row(one.study.stored_name, done, *words[0], *rest, *words[1])
        yield rows
        if not wide:
            yield self._in_words()

    def _in_words(self) -> Table:
        rows = Table(box=None, pad_edge=False, show_header=False)
        rows.add_column(overflow="fold")
        rows.add_column(overflow="fold")
        for one in self.found:
            driver = f"; driver: {_driver(one)}" if _driver(one) else ""
            rows.add_row(one.study.stored_name, f"{one.counts or 'nothing yet'}{driver}")
        return rows


def _figures(one: Status) -> list[str]:
    """Trials done, the size of the front, the hypervolume, the time left."""
    infeasible = " infeasible" if one.over.complete and not one.front.feasible else ""
    return [
        f"{one.finished}/{one.study.budget.trials}",
        f"{len(one.front.trials)}{infeasible}",
        "" if one.hypervolume is None else f"{one.hypervolume:.3f}",
        "" if one.spent else duration(one.seconds_left),
    ]


def _driver(one: Status) -> str:
    return one.driver or ("" if one.spent else "none")
