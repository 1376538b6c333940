"""A search on the terminal: a live view, or plain lines where there is no terminal."""

import math
import sys
import termios
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from searcher.config.given import called
from searcher.config.study import Study
from searcher.execution.layout import STORE
from searcher.execution.messages import Done, Failed, Infeasible, Killed, Outcome, Reused, Stopped
from searcher.searching.records import TrialRecord
from searcher.searching.state import Running, State
from searcher.ui.terminal.trials import WIDE_COLUMNS, front_table
from searcher.wording import duration, number, several

if TYPE_CHECKING:
    from searcher.execution.launcher import Launcher


class PlainView:
    """One line for every trial that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, state: State) -> None:
        """Nothing: only what ended is worth a line."""

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """Print the line of a trial that ended."""
        budget = state.study.budget.trials
        progress = f"[{state.finished}/{budget} done, {duration(state.seconds_left)} left]"
        line = f"trial {number}: {summary(state, outcome)} {progress}"
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def summary(state: State, outcome: Outcome) -> str:
    """A trial's outcome in one line."""
    if isinstance(outcome, Done):
        figures = (f"{o.key} {number(outcome.metrics[o.key])}" for o in state.study.objectives)
        origin = TrialRecord.of(state.complete[-1]).variant_of if state.complete else None
        network = "" if origin is None else f", the network of trial {origin}"
        return f"{', '.join(figures)}, {duration(outcome.seconds)}{network}"
    if isinstance(outcome, Stopped):
        return f"stopped after {outcome.rung} epochs"
    if isinstance(outcome, Reused):
        return f"the same recipe as trial {outcome.number}"
    if isinstance(outcome, Infeasible):
        return f"infeasible: {outcome.reason}"
    return f"FAILED: {outcome.reason}" if isinstance(outcome, Failed) else f"{outcome.reason}, put back"


class LiveView:
    """The trials done, each running trial's stage, epoch and accuracy, the front so far, the time left."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(Text("loading …"), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveView":
        self._modes = _hide_control_keys()
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()
        if self._modes:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._modes)

    def update(self, state: State) -> None:
        """Draw the view."""
        self._live.update(render(state, self._console.width, self._console.height))

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """Leave a line above the view where a trial failed."""
        if isinstance(outcome, Failed | Killed):
            self._console.print(f"trial {number}: {summary(state, outcome)}", markup=False, highlight=False)


class BatchView:
    """Several searches: a line for every trial that ends; on a terminal a row for each search below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, State] = {}
        self._live = Live(Text("loading …"), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "BatchView":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, state: State) -> None:
        """Draw the search's row."""
        self._states[state.study.stored_name] = state
        if self._console.is_terminal:
            self._live.update(self._table())

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """Print the line of a trial that ended."""
        line = f"{state.study.stored_name} trial {number}: {summary(state, outcome)}"
        progress = f"[{state.finished}/{state.study.budget.trials} done]"
        self._console.print(f"{line} {progress}", soft_wrap=True, markup=False, highlight=False)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("study", "done", "running", "queued", "front", "left"):
            table.add_column(name, justify="left" if name == "study" else "right")
        for name, state in self._states.items():
            begun = sum(r.process.begun for r in state.running.values())
            done = f"{state.finished}/{state.study.budget.trials}"
            queued = len(state.running) - begun
            counts = (str(begun), str(queued), str(len(state.front.trials)))
            table.add_row(name, done, *counts, duration(state.seconds_left))
        return table


def watched(
    study: Study, runs: Path, launcher: "Launcher", console: Console, stored_in: str | None = None
) -> State:
    """Run a study as `loop.search` does, on a console: live on a terminal, else a line a trial.

    Args:
        study: What to search.
        runs: The runs folder.
        launcher: Where the trials run.
        console: Where it is shown.
        stored_in: Where the runs folder stores its trials.
    """
    text = f"{study.stored_name}: {several(study.budget.trials, 'trial')}, {launcher.workers} at a time"
    console.print(text, highlight=False)
    with LiveView(console) if console.is_terminal else nullcontext(PlainView(console)) as view:
        from searcher.searching.check import doubts
        from searcher.searching.loop import (
            search,  # which takes a second, so it is not loaded before the view
        )

        for line in doubts(study, store=runs / STORE):
            console.print(f"warning: {line}", style="yellow", highlight=False)
        return search(study, runs, launcher, view, stored_in)


def _hide_control_keys() -> list[Any] | None:
    """Keep the terminal from printing ^C into the view; the modes to put back, None without a terminal."""
    if not sys.stdin.isatty():
        return None
    before = termios.tcgetattr(sys.stdin)
    modes = termios.tcgetattr(sys.stdin)
    modes[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
    return before


def render(state: State, width: int, height: int) -> RenderableType:
    """The whole view, of a front with as many rows as fit."""
    lines_a_row = 1 if width >= WIDE_COLUMNS else 3
    rows = max(1, (height - len(state.running) - 12) // lines_a_row)
    return Group(_head(state), _running(state), "", front_table(state.study, state.front, rows))


_COLOURS = {"complete": "green", "failed": "red"}


def _head(state: State) -> Panel:
    study = state.study
    counts = Text.assemble(
        *(
            part
            for count, name in state.counts
            for part in ((f"{count} {name}", _COLOURS.get(name, "")), " · ")
        ),
        f"{len(state.running)} running",
        f" · {state.finished} of {study.budget.trials} trials",
        f" · {duration(time.monotonic() - state.started)} gone, {duration(state.seconds_left)} left",
    )
    bar = ProgressBar(total=study.budget.trials, completed=state.finished)
    title = f"{study.name} on {called(study.task)}"
    return Panel(Group(counts, bar), title=title, title_align="left")


def _running(state: State) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("trial", "stage", "epoch", "validation", "for"):
        table.add_column(name, justify="left" if name == "stage" else "right", min_width=6)
    for running in state.running.values():
        table.add_row(*_row(running))
    return table


def _row(running: Running) -> list[str]:
    progress = running.progress
    stage = progress.stage if running.process.begun else "queued"
    accuracy = "" if math.isnan(progress.accuracy) else number(progress.accuracy)
    epoch = f"{progress.epoch}/{progress.epochs}" if progress.epoch else ""
    taken = duration(time.monotonic() - running.started)
    return [str(running.trial.number), stage, epoch, accuracy, taken]
