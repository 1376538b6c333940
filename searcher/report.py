"""Tables of a study's trials: on the terminal, and as CSV."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.table import Table

from searcher.front import Front, front, violation
from searcher.recipe import Recipe
from searcher.study import Metric, Study


def number(value: float) -> str:
    """A figure with as many digits as a reader needs: 0.0167, 0.9004, 70,922."""
    if value and abs(value) < 0.1:
        return f"{value:.5f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.0f}"


def front_table(study: Study, points: Front, rows: int | None = None) -> Table:
    """The front as a table, best quality first; at most so many rows."""
    title = f"front, {len(points.trials)} points"
    if study.constraints and not points.feasible:
        title += f"; no trial satisfies {', '.join(map(str, study.constraints))} yet, constraints ignored"
    return _table(study, points.trials[:rows], title, distance=not points.feasible)


def complete_trials(stored: optuna.Study) -> list[FrozenTrial]:
    """The trials that were measured."""
    return stored.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def study_table(study: Study, stored: optuna.Study, every: bool) -> Table:
    """The table of a stored study: its front, or all its trials."""
    complete = complete_trials(stored)
    if not every:
        return front_table(study, front(study, complete))
    return _table(study, stored.get_trials(deepcopy=False), f"{study.stored_name}, all trials", every=True)


def columns(study: Study) -> list[Metric]:
    """The metrics of a study in the order of its tables."""
    return study.measured()


def _table(
    study: Study, trials: Sequence[FrozenTrial], title: str, *, distance: bool = False, every: bool = False
) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("trial", justify="right")
    if every:
        table.add_column("state")
    for metric in columns(study):
        table.add_column(metric.key.replace(":", "\n"), justify="right")
    if distance and study.constraints:
        table.add_column("to the\nbound", justify="right")
    table.add_column("recipe", overflow="fold")
    for trial in trials:
        table.add_row(*_cells(study, trial, distance=distance and bool(study.constraints), every=every))
    return table


def _cells(study: Study, trial: FrozenTrial, *, distance: bool, every: bool) -> list[str]:
    metrics = trial.user_attrs.get("metrics", {})
    cells = [str(trial.number)]
    if every:
        cells.append(trial.user_attrs.get("outcome") or trial.state.name.lower())
    cells += [number(metrics[m.key]) if m.key in metrics else "" for m in columns(study)]
    if distance:
        cells.append(number(violation(study, trial)))
    return [*cells, words(trial)]


def words(trial: FrozenTrial) -> str:
    """A trial's recipe in words, and why it failed where it did."""
    recipe = trial.user_attrs.get("recipe")
    text = Recipe.model_validate(recipe).words() if recipe else ""
    reason = trial.user_attrs.get("reason")
    return f"{text} ({reason})" if reason else text


def frame(study: Study, stored: optuna.Study, every: bool) -> pd.DataFrame:
    """The front, or all trials, one row each: number, state, metrics, seconds, parameters, recipe."""
    trials = stored.get_trials(deepcopy=False)
    points = front(study, complete_trials(stored)).trials
    on_front = {t.number for t in points}
    rows = [_record(study, t, t.number in on_front) for t in (trials if every else points)]
    return pd.DataFrame(rows)


def _record(study: Study, trial: FrozenTrial, on_front: bool) -> dict[str, object]:
    metrics = trial.user_attrs.get("metrics", {})
    return {
        "trial": trial.number,
        "state": trial.user_attrs.get("outcome") or trial.state.name.lower(),
        "front": on_front,
        "feasible": violation(study, trial) <= 0 if metrics else None,
        **{m.key: metrics.get(m.key) for m in columns(study)},
        "seconds": trial.user_attrs.get("seconds"),
        "recipe": words(trial),
        **trial.params,
    }


def catalog_table(files: dict[str, Path]) -> Table:
    """The studies that can be run, by name and file."""
    table = Table(title="studies", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name")
    table.add_column("file")
    for name, path in sorted(files.items()):
        table.add_row(name, str(path))
    return table


def stored_table(studies: Sequence[tuple[optuna.Study, Study]]) -> Table:
    """The stored studies: trials by state and the size of the front."""
    table = Table(title="stored", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("name", "complete", "failed", "asked for", "front"):
        table.add_column(name, justify="left" if name == "name" else "right")
    for stored, study in studies:
        complete = complete_trials(stored)
        failed = sum(t.user_attrs.get("outcome") == "failed" for t in stored.get_trials(deepcopy=False))
        points = front(study, complete)
        size = f"{len(points.trials)}" + ("" if points.feasible else " (infeasible)")
        counts = [len(complete), failed, study.budget.trials]
        table.add_row(study.stored_name, *map(str, counts), size)
    return table
