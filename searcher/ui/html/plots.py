"""Plotly figures of a study's trials: for its page, for Optuna's dashboard."""

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from searcher.compression.teaching import TEACHER
from searcher.config.metric import Constraint, Metric, Objective
from searcher.config.study import Study
from searcher.execution.curve import Point
from searcher.execution.metrics import built_in
from searcher.searching.indicators import Importances
from searcher.searching.pareto import front, violation
from searcher.searching.records import TrialRecord
from searcher.ui.terminal.trials import words
from searcher.wording import number

BLUE, GREY, ORANGE, INK = "#0b63ce", "#8a94a3", "#c2571a", "#1c2733"
PAPER, LINES = "#ffffff", "#e4e8ed"
"""A page has another colour for each of these where its reader wants it dark (`templates/page.js`)."""

COLOURS = (BLUE, ORANGE, "#1a7f4b", "#a13d9b", "#8a6a00", "#00798c", "#c4304f", "#5b6776")
HOVER_COLUMNS = 46
"""Characters of a line of a hover text, so that it fits a phone."""

LOG_FROM = 10
"""A cost whose largest value is so many times the smallest gets a logarithmic axis."""


@dataclass(frozen=True)
class Group:
    """Trials that are drawn alike."""

    name: str
    trials: list[FrozenTrial]
    marker: dict[str, object]


def groups(study: Study, trials: Sequence[FrozenTrial]) -> list[Group]:
    """The complete trials in the order in which they are drawn: infeasible, others, the front on top."""
    points = front(study, trials)
    best = {t.number for t in points.trials}
    rest = [t for t in trials if t.number not in best]
    broken = [t for t in rest if violation(study, t) > 0]
    others = [t for t in rest if violation(study, t) <= 0]
    name = "front" if points.feasible else "front, constraints ignored"
    hollow = {"symbol": "x-thin", "size": 8, "line": {"color": ORANGE, "width": 1.6}, "color": ORANGE}
    every = [
        Group("misses a constraint", broken, hollow),
        Group("other trials", others, {"color": GREY, "size": 7, "opacity": 0.7}),
        Group(name, points.trials, _front_marker(points.feasible)),
    ]
    return [group for group in every if group.trials]


def _front_marker(feasible: bool) -> dict[str, object]:
    colour = BLUE if feasible else ORANGE
    symbol = "circle" if feasible else "circle-open"
    return {"symbol": symbol, "color": colour, "size": 11, "line": {"color": colour, "width": 1.5}}


def pairs(study: Study) -> list[tuple[int, int]]:
    """The pairs of objectives to be drawn, cost (across) before quality (upwards), by position."""
    goals = [o.goal for o in study.objectives]
    every = combinations(range(len(goals)), 2)
    return [(b, a) if goals[a] == "maximize" else (a, b) for a, b in every]


def front_figure(study: Study, trials: Sequence[FrozenTrial], pair: tuple[int, int]) -> go.Figure:
    """The complete trials by two of the objectives, the front marked.

    With two objectives in all the front is a line of steps, the edge of what it dominates: between two of
    its points no trial was found that reaches the better values of both. Constraints on what is drawn are
    dashed lines.
    """
    across, up = (study.objectives[i] for i in pair)
    chart = figure_of(_axis(study, trials, pair[0]), _axis(study, trials, pair[1]))
    for group in groups(study, trials):
        stepped = group.name.startswith("front") and len(study.objectives) == 2
        values = [[t.values[i] for t in group.trials] for i in pair]
        edge = _steps(across, values[0]) if stepped else ""
        chart.add_trace(_scatter(study, group, values[0], values[1], edge))
    for constraint in filter(lambda c: c.binds, study.constraints):
        for axis, objective in (("x", across), ("y", up)):
            if constraint.key == objective.key:
                _bound(chart, constraint, axis)
    return chart


def _steps(across: Objective, x: Sequence[float]) -> str:
    """Plotly's shape of the edge of what a front dominates, whose points come in this order.

    From a point the edge runs towards what is worse across, and up or down where the next point begins.
    """
    worsens = (x[-1] - x[0]) * across.sign >= 0
    return "hv" if worsens else "vh"


def history_figure(study: Study, trials: Sequence[FrozenTrial], position: int) -> go.Figure:
    """One objective by trial, with the best feasible value so far; `heading` is its caption."""
    objective = study.objectives[position]
    chart = figure_of(titled("trial"), _scale(objective, trials, position))
    feasible = [t for t in trials if violation(study, t) <= 0]
    best = min if objective.goal == "minimize" else max
    values = [t.values[position] for t in feasible]
    so_far = [best(values[: i + 1]) for i in range(len(values))]
    numbers = [t.number for t in feasible]
    steps = {"shape": "hv", "color": BLUE, "width": 1.5}
    chart.add_trace(
        go.Scatter(x=numbers, y=so_far, name="best so far", mode="lines", line=steps, hoverinfo="skip")
    )
    for group in groups(study, trials):
        across = [t.number for t in group.trials]
        chart.add_trace(_scatter(study, group, across, [t.values[position] for t in group.trials]))
    return chart


def line_figure(x: Sequence[float], y: Sequence[float], across: str, up: str) -> go.Figure:
    """A share between 0 and 1 that changes in steps."""
    chart = figure_of(titled(across), titled(up) | {"tickformat": ".0%", "rangemode": "tozero"})
    line = {"shape": "hv", "color": BLUE, "width": 2}
    chart.add_trace(go.Scatter(x=list(x), y=list(y), mode="lines+markers", line=line, showlegend=False))
    return chart


def importance_figure(found: Importances, rows: int = 12) -> go.Figure:
    """Parameters by importance, the most important on top, pale where it is unsure; the rest is summed."""
    ordered = sorted(found.shares.items(), key=lambda item: -item[1])
    shown, rest = ordered[:rows], ordered[rows:]
    if rest:
        shown.append((f"{len(rest)} others", sum(share for _, share in rest)))
    longest = max((share for _, share in shown), default=1) or 1
    chart = figure_of(
        {"tickformat": ".0%", "range": [0, longest]}, {"type": "category", "autorange": "reversed"}
    )
    chart.add_trace(
        go.Bar(
            x=[share for _, share in shown],
            y=[_plain(name) for name, _ in shown],
            orientation="h",
            marker={"color": BLUE, "opacity": [0.35 if name in found.unsure else 1 for name, _ in shown]},
            text=[f"{share:.1%}" for _, share in shown],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="none",
        )
    )
    # Room on the right for the figure that stands beside the longest bar.
    return chart.update_layout(height=90 + 24 * len(shown), bargap=0.35, margin={"r": 52})


def curve_figure(curves: Mapping[str, Sequence[Point]], quality: str) -> go.Figure:
    """Quality on validation data while trainings ran, by epochs of all stages; a line a training, by name.

    By epochs and not by seconds, in which a stage that was taken from the store has no extent. The epochs of
    a teacher, which is another network, are left out. A larger mark ends a stage.
    """
    chart = figure_of(
        titled("epochs of all stages") | {"rangemode": "tozero"},
        titled(f"validation {quality}") | {"tickformat": "~%"},
    )
    chart.update_layout(colorway=COLOURS)
    for name, points in curves.items():
        shown = trained(points)
        chart.add_trace(
            go.Scatter(
                x=list(range(1, len(shown) + 1)),
                y=[p.accuracy for p in shown],
                name=_plain(name),
                mode="lines+markers",
                marker={"size": [9 if p.epoch == p.epochs else 4 for p in shown]},
                hovertext=[_told(name, p) for p in shown],
                hoverinfo="text",
            )
        )
    return chart


def trained(points: Sequence[Point]) -> list[Point]:
    """The reports of the network's own epochs, each once.

    A training that was killed goes on from the last epoch that was saved, and reports again what came after.
    """
    found: list[Point] = []
    for point in points:
        if math.isnan(point.accuracy) or point.stage == TEACHER:
            continue
        while found and _repeats(point, found[-1]):
            found.pop()
        found.append(point)
    return found


def _repeats(point: Point, before: Point) -> bool:
    """Whether a report takes its stage back to an earlier epoch than the one before it, or to the same."""
    another = before.epoch == before.epochs and point.epoch == 1
    return point.stage == before.stage and point.epoch <= before.epoch and not another


def _told(name: str, point: Point) -> str:
    return f"{_plain(name)}<br>{_plain(point.stage)} {point.epoch}/{point.epochs}: {point.accuracy:.2%}"


def hover(study: Study, trial: FrozenTrial) -> str:
    """A trial's number, figures and recipe in words, wrapped, in Plotly's markup."""
    metrics = TrialRecord.of(trial).metrics
    figures = [f"{_plain(m.key)}: <b>{number(metrics[m.key])}</b>" for m in study.measured()]
    recipe = [_plain(line) for line in textwrap.wrap(words(trial), HOVER_COLUMNS)]
    return "<br>".join([f"<b>trial {trial.number}</b>", *figures, *recipe])


def _plain(text: str) -> str:
    """Text that Plotly shows as it is."""
    return html.escape(text, quote=False)


def _scatter(
    study: Study, group: Group, x: Sequence[float], y: Sequence[float], shape: str = ""
) -> go.Scatter:
    style = {"color": group.marker["color"], "width": 1.5, "shape": shape}
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=group.name,
        mode="lines+markers" if shape else "markers",
        marker=group.marker,
        line=style if shape else None,
        customdata=[t.number for t in group.trials],
        hovertext=[hover(study, t) for t in group.trials],
        hoverinfo="text",
    )


def heading(study: Study, trials: Sequence[FrozenTrial], position: int) -> str:
    """An objective, which way is better, and whether its axis is logarithmic."""
    objective = study.objectives[position]
    better = "↓ better" if objective.goal == "minimize" else "↑ better"
    log = ", log scale" if _scale(objective, trials, position) else ""
    return f"{title_of(objective)}, {better}{log}"


def _scale(objective: Objective, trials: Sequence[FrozenTrial], position: int) -> dict[str, object]:
    values = [t.values[position] for t in trials]
    wide = objective.goal == "minimize" and min(values) > 0 and max(values) >= LOG_FROM * min(values)
    # 0.002, but 2M: a thousandth has a letter too, which nobody reads.
    form = "~s" if min(values) >= 1 else "~g"
    return {"type": "log", "dtick": "D2", "tickformat": form} if wide else {}


def _axis(study: Study, trials: Sequence[FrozenTrial], position: int) -> dict[str, object]:
    scale = _scale(study.objectives[position], trials, position)
    return titled(heading(study, trials, position)) | scale


def titled(text: str) -> dict[str, object]:
    """An axis with a title."""
    return {"title": {"text": _plain(text), "font": {"size": 13}, "standoff": 12}}


def title_of(metric: Metric) -> str:
    """A metric as a reader knows it: what quality is read on, and a score's variant."""
    return f"{metric.key} (validation)" if metric.metric in built_in() else metric.key


def _bound(chart: go.Figure, constraint: Constraint, axis: str) -> None:
    """A dashed line at a constraint's bound, with its text; `axis` is ``x`` or ``y``."""
    log = chart.layout[f"{axis}axis"].type == "log"
    if log and constraint.bound <= 0:
        return
    line = {"color": ORANGE, "width": 1, "dash": "dash"}
    # Of a logarithmic axis annotations take the exponent, lines the value.
    at = math.log10(constraint.bound) if log else constraint.bound
    text = {"text": _plain(str(constraint)), "showarrow": False, "yanchor": "top"}
    if axis == "y":
        chart.add_hline(constraint.bound, line=line)
        chart.add_annotation(x=1, xref="paper", xanchor="right", y=at, **text)
    else:
        chart.add_vline(constraint.bound, line=line)
        chart.add_annotation(x=at, xanchor="right", y=1, yref="paper", **text)


def figure_of(across: dict[str, object], up: dict[str, object]) -> go.Figure:
    """An empty figure of these axes, as every page has it."""
    grid = {"gridcolor": LINES, "linecolor": GREY, "zeroline": False, "automargin": True}
    return go.Figure(
        layout={
            # Plotly's own template is 6 kB a figure, of which this says all that is wanted.
            "template": go.layout.Template(),
            "paper_bgcolor": PAPER,
            "plot_bgcolor": PAPER,
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
            "margin": {"l": 10, "r": 14, "t": 12, "b": 10},
            "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
            "hoverlabel": {"bgcolor": PAPER, "align": "left", "font": {"size": 12}},
            "hovermode": "closest",
            "xaxis": grid | across,
            "yaxis": grid | up,
            "height": 380,
        }
    )
