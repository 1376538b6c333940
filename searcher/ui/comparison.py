"""Before and after: a network's figures beside those of another, and the change as practitioners state it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from searcher import tasks
from searcher.tasks.base import Figure
from searcher.wording import number

Goal = Literal["maximize", "minimize"]
BETTER, WORSE = "+\u00a0better", "−\u00a0worse"
"""Sign and word, which no line break parts, so that no reader needs the colour."""

_COSTS = {
    "size_mb": Figure("size of the file", "minimize", "MB"),
    "fps": Figure("images a second", "maximize"),
    "latency_ms": Figure("latency, mean", "minimize", "ms"),
    "latency_median_ms": Figure("latency, median", "minimize", "ms"),
    "inference_memory_mb": Figure("memory of the model", "minimize", "MB"),
    "peak_memory_mb": Figure("memory of the whole process", "minimize", "MB"),
    "sparsity": Figure("weights that are zero", None, "%", ""),
    "params": Figure("parameters", "minimize"),
    "macs": Figure("multiply-accumulates", "minimize"),
    "micronet_score": Figure("score", "minimize"),
}
"""Figures of cost, in the order of the rows."""


def labels() -> dict[str, Figure]:
    """The figures in the order of the rows; a metric that is not here comes last."""
    return {name: one for kind in tasks.kinds() for name, one in kind.labels.items()} | _COSTS


def _by_class() -> dict[str, str]:
    return {name: short for kind in tasks.kinds() for name, short in kind.by_class.items()}


@dataclass(frozen=True)
class Change:
    """One figure before and after, in words; a side that has none is empty.

    `verdict` is `BETTER` or `WORSE`; empty where nothing changed that is shown, or where neither is better.
    """

    label: str
    before: str
    after: str
    change: str
    verdict: str = ""

    @property
    def said(self) -> str:
        """The change with its verdict."""
        return ", ".join(filter(None, (self.change, self.verdict)))

    @property
    def whole(self) -> str:
        """All of it in one line: ``40.00% → 50.00%, +10.00 points, + better``."""
        sides = " → ".join(filter(None, (self.before, self.after)))
        return ", ".join(filter(None, (sides, self.said)))


_NONE = Change("", "", "", "")


def goal_of(key: str) -> Goal | None:
    """A metric's goal by its key; None where it is not known, or where neither way is better."""
    figure = labels().get(_name(key))
    return figure.goal if figure else None


def changes(
    before: Mapping[str, float], after: Mapping[str, float], goals: Mapping[str, Goal | None] | None = None
) -> list[Change]:
    """A row for every figure that the second network has; those of a class are `class_changes`.

    Args:
        before: Figures of a network by metric, ``micronet_score:imt-2022``.
        after: Those of the network that it became.
        goals: Of metrics that are not known here.
    """
    names = list(labels())
    kept = [key for key in after if not is_of_a_class(key)]
    order = sorted(kept, key=lambda key: names.index(_name(key)) if _name(key) in names else len(names))
    return [_change(key, before.get(key), after[key], (goals or {}).get(key)) for key in order]


def class_changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[tuple[str, list[Change]]]:
    """By class, the figures that there are of each; empty where not known."""
    classes = list(dict.fromkeys(key.partition(":")[2] for key in after if is_of_a_class(key)))
    keys = {name: [f"{figure}:{name}" for figure in _figures_of_classes(after)] for name in classes}
    return [
        (name, [_change(k, before.get(k), after[k], None) if k in after else _NONE for k in every])
        for name, every in keys.items()
    ]


def class_headings(after: Mapping[str, float]) -> tuple[str, ...]:
    """The short names of the figures in the rows of `class_changes`."""
    return tuple(_by_class()[name] for name in _figures_of_classes(after))


def _figures_of_classes(after: Mapping[str, float]) -> list[str]:
    there = {_name(key) for key in after if is_of_a_class(key)}
    return [name for name in _by_class() if name in there]


def is_of_a_class(key: str) -> bool:
    """Whether a figure is of one class."""
    return ":" in key and _name(key) in _by_class()


def _change(key: str, before: float | None, after: float, goal: Goal | None) -> Change:
    figure = labels().get(_name(key), Figure(key, goal, change="factor" if goal else ""))
    variant = key.partition(":")[2]
    label = f"{figure.label} {variant}" if variant and figure.label != key else figure.label
    shown = "" if before is None else _shown(figure, before)
    stated = _stated(figure, before, after)
    return Change(label, shown, _shown(figure, after), stated, _verdict(figure, before, after, stated))


def _name(key: str) -> str:
    return key.partition(":")[0]


def _shown(figure: Figure, value: float) -> str:
    if figure.unit == "%":
        return f"{value:.2%}"
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 10 else number(value)
    return f"{shown} {figure.unit}".strip()


def _stated(figure: Figure, before: float | None, after: float) -> str:
    if before is None or not figure.change:
        return ""
    if before == after:
        return "unchanged"
    if figure.change == "points":
        points = f"{100 * (after - before):+.2f}"
        return "below 0.01 points" if float(points) == 0 else f"{points} points"
    # Of what passes zero no factor can be stated.
    if not before * after > 0:
        return ""
    larger = max(before / after, after / before)
    return "below 1 %" if larger < 1.005 else f"{'÷' if abs(before) > abs(after) else '×'} {larger:,.2f}"


def _verdict(figure: Figure, before: float | None, after: float, stated: str) -> str:
    if before is None or figure.goal is None or stated.startswith(("unchanged", "below")):
        return ""
    return BETTER if (after > before) == (figure.goal == "maximize") else WORSE
