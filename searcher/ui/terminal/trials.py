"""Tables of a study's trials: on the terminal, and as CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from searcher.config.metric import Metric
from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.execution.layout import INT8
from searcher.searching.pareto import Front, front, violation
from searcher.searching.records import TrialRecord, damage, ended, whole
from searcher.wording import kernels, number, several

if TYPE_CHECKING:
    import pandas as pd

WIDE_COLUMNS = 140
"""Columns of a console from which on a table has room for the recipes."""

NARROW = 80
"""Columns of a console below which a table shows the objectives alone."""


def front_table(study: Study, points: Front, rows: int | None = None, name: str = "front") -> "TrialTable":
    """The front as a table, best quality first; at most so many rows."""
    title = f"{name}, {several(len(points.trials), 'point')}" if points.trials else name
    if points.trials and not points.feasible:
        title += f"; no trial satisfies {', '.join(map(str, study.constraints))} yet, constraints ignored"
    return TrialTable(study, points.trials[:rows], title, distance=not points.feasible)


def complete_trials(stored: optuna.Study) -> list[FrozenTrial]:
    """The trials that were measured, but for those that are damaged."""
    return whole(stored.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))


def study_table(study: Study, stored: optuna.Study, every: bool) -> "TrialTable":
    """The table of a stored study: its front, or all its trials."""
    if every:
        title = f"{study.stored_name}, all trials"
        return TrialTable(study, stored.get_trials(deepcopy=False), title, state=True)
    return front_table(study, front(study, complete_trials(stored)), name=f"{study.stored_name}, front")


def int8_kernels(trials: Sequence[FrozenTrial]) -> str:
    """The kernels that have computed the trials' int8 figures, each once; empty without any."""
    ran = [TrialRecord.of(t).measured.get(INT8) for t in trials if not damage(t)]
    return "; ".join(dict.fromkeys(kernels(one) for one in ran if one))


@dataclass(frozen=True)
class TrialTable:
    """Trials with their metrics and recipes; on a narrow console the recipes stand in a list below."""

    study: Study
    trials: Sequence[FrozenTrial]
    title: str
    distance: bool = False
    state: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE_COLUMNS
        if not self.trials:
            yield f"{self.title}: no trial is complete yet"
            return
        yield self._table(options.max_width)
        if not wide:
            yield self._recipes()
        if ran := int8_kernels(self.trials):
            yield f"int8 figures by {ran}"

    def _table(self, width: int) -> Table:
        wide = width >= WIDE_COLUMNS
        study = self.study
        metrics = study.measured() if width >= NARROW else [*study.objectives]
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in self._headers(metrics):
            table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
        if wide:
            table.add_column("recipe", overflow="fold")
        for trial in self.trials:
            table.add_row(*self._cells(trial, metrics), *([words(trial)] if wide else []))
        return table

    def _recipes(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        for trial in self.trials:
            table.add_row(str(trial.number), words(trial))
        return table

    def _headers(self, metrics: Sequence[Metric]) -> list[str]:
        names = [m.key.replace(":", "\n") for m in metrics]
        bound = ["to the\nbound"] if self._bounded else []
        return ["trial", *(["state"] if self.state else []), *names, *bound]

    def _cells(self, trial: FrozenTrial, metrics: Sequence[Metric]) -> list[str]:
        values = {} if damage(trial) else TrialRecord.of(trial).metrics
        figures = [number(values[m.key]) if m.key in values else "" for m in metrics]
        bound = [f"{violation(self.study, trial):.1%}"] if self._bounded else []
        return [str(trial.number), *([state(trial)] if self.state else []), *figures, *bound]

    @property
    def _bounded(self) -> bool:
        return self.distance and bool(self.study.constraints)


def state(trial: FrozenTrial) -> str:
    """A trial's state as the tables name it: complete, reused, stopped early, infeasible, failed, ..."""
    if damage(trial):
        return "damaged"
    record = TrialRecord.of(trial)
    reused = "" if record.reused is None else "reused"
    return record.outcome or reused or trial.state.name.lower()


def words(trial: FrozenTrial) -> str:
    """A trial's recipe in words, and why it failed where it did."""
    record = TrialRecord.of(trial)
    text, reason = "", record.reason or damage(trial)
    try:
        text = record.recipe.words() if record.has_recipe else ""
    except SearcherError as error:
        reason = str(error)
    return f"{text} ({reason})" if reason else text


def frame(study: Study, stored: optuna.Study, every: bool) -> "pd.DataFrame":
    """The front, or all trials, one row each: number, state, metrics, seconds, parameters, recipe."""
    import pandas as pd  # which takes longer than the table on the terminal

    return pd.DataFrame(records(study, stored, every))


def records(study: Study, stored: optuna.Study, every: bool) -> list[dict[str, object]]:
    """The rows of `frame`."""
    trials = stored.get_trials(deepcopy=False)
    points = front(study, complete_trials(stored)).trials
    on_front = {t.number for t in points}
    return [_record(study, t, t.number in on_front) for t in (trials if every else points)]


def _record(study: Study, trial: FrozenTrial, on_front: bool) -> dict[str, object]:
    metrics = {} if damage(trial) else TrialRecord.of(trial).metrics
    return {
        "trial": trial.number,
        "state": state(trial),
        "front": on_front,
        "feasible": violation(study, trial) <= 0 if metrics else None,
        **{m.key: metrics.get(m.key) for m in study.measured()},
        "seconds": TrialRecord.of(trial).seconds,
        "recipe": words(trial),
        **{f"param:{name}": value for name, value in trial.params.items()},
    }


def catalog_table(files: dict[str, Path]) -> Table:
    """The studies that can be run, by name and file."""
    table = Table(title="studies", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name")
    table.add_column("file")
    for name, path in sorted(files.items()):
        table.add_row(name, str(path))
    return table


def lines_table(what: str, lines: Mapping[str, str]) -> Table:
    """What there is of a kind, by name, with a line on each."""
    table = Table(title=what, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("", overflow="fold")
    for name, line in lines.items():
        table.add_row(name, Text(line))
    return table


def stored_records(studies: Sequence[tuple[optuna.Study, Study]]) -> list[dict[str, object]]:
    """The stored studies: trials by state and the size of the front."""
    rows: list[dict[str, object]] = []
    for stored, study in studies:
        over = ended(stored.get_trials(deepcopy=False))
        points = front(study, over.complete)
        rows.append(
            {
                "name": study.stored_name,
                "complete": len(over.complete),
                "failed": len(over.failed),
                "asked for": study.budget.trials,
                "front": len(points.trials),
                "feasible": points.feasible,
            }
        )
    return rows


def stored_table(studies: Sequence[tuple[optuna.Study, Study]]) -> Table:
    """`stored_records` as a table."""
    table = Table(title="stored", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("name", "complete", "failed", "asked for", "front"):
        table.add_column(name, justify="left" if name == "name" else "right")
    for row in stored_records(studies):
        size = f"{row['front']}" + ("" if row["feasible"] else " (infeasible)")
        table.add_row(*(str(row[key]) for key in ("name", "complete", "failed", "asked for")), size)
    return table
