"""A front that is trained again with other seeds: while it is, and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table

from searcher.config.metric import Objective
from searcher.config.study import Study
from searcher.execution.messages import Job, Progress
from searcher.execution.metrics import on_split
from searcher.searching.records import TrialRecord
from searcher.searching.verify import TEST, Verified
from searcher.wording import number, so_far, spread


class VerifyView:
    """A line for every training that is done; on a terminal, below, one for each that runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("loading …")
        self._running: dict[Path, str] = {}

    def __enter__(self) -> "VerifyView":
        self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._status.stop()

    def progress(self, job: Job, progress: Progress) -> None:
        """Say where a training is."""
        at = so_far(progress.stage, progress.epoch, progress.epochs, progress.accuracy)
        self._running[job.folder] = f"trial {job.number}, seed {job.study.seed}: {at}"
        self._draw()

    def told(self, job: Job, line: str) -> None:
        """Print the line of a training that has ended."""
        self._running.pop(job.folder, None)
        self.say(line)
        self._draw()

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, highlight=False, markup=False)

    def _draw(self) -> None:
        self._status.update(escape("\n".join(self._running.values())))


ANY_WIDTH = 10_000
"""Columns of a console on which every table fits."""


@dataclass(frozen=True)
class VerifiedTable:
    """The figure of the search beside the mean ± deviation of other seeds.

    Where the console is narrow the verdicts stand in a list below, and where that is not enough every
    objective has a table of its own.
    """

    study: Study
    points: Sequence[Verified]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        def fits(table: Table) -> bool:
            needed = console.measure(table, options=options.update_width(ANY_WIDTH))
            return needed.maximum <= options.max_width

        title, every = (
            f"{self.study.stored_name}, front with other seeds: mean±deviation",
            self.study.objectives,
        )
        whole = self._table(title, every, verdicts=True)
        if fits(whole):
            yield whole
            return
        figures = self._table(title, every)
        yield from [figures] if fits(figures) else [self._table(f"{title} of {o.key}", [o]) for o in every]
        yield self._verdicts()

    def _table(self, title: str, objectives: Sequence[Objective], verdicts: bool = False) -> Table:
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True
        )
        for name in ("trial", *(name for o in objectives for name in self._headers(o))):
            table.add_column(name, justify="right", no_wrap=True)
        if verdicts:
            table.add_column("verdict")
        for point in self.points:
            cells = [cell for o in objectives for cell in self._cells(point, o)]
            table.add_row(str(point.trial.number), *cells, *([point.verdict] if verdicts else []))
        return table

    def _verdicts(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        for point in self.points:
            table.add_row(str(point.trial.number), point.verdict)
        return table

    def _headers(self, objective: Objective) -> list[str]:
        names = [f"{objective.key}\nfound".replace(":", "\n"), "other\nseeds"]
        return [*names, "on\ntest"] if on_split([objective]) else names

    def _cells(self, point: Verified, objective: Objective) -> list[str]:
        key = objective.key
        again = [key, TEST + key] if on_split([objective]) else [key]
        found = TrialRecord.of(point.trial).metrics[key]
        return [number(found), *(_over_seeds(point, name) for name in again)]


def _over_seeds(point: Verified, key: str) -> str:
    """Mean and deviation; no deviation where the seeds agree, or there is one."""
    if not point.seeds:
        return ""
    mean, deviation = point.mean(key), point.deviation(key)
    return f"{number(mean)}±{spread(mean, deviation)}" if deviation else number(mean)
