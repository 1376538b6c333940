"""Before and after: a network's figures beside those of another, and the change as practitioners state it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from searcher.wording import number


@dataclass(frozen=True)
class _Figure:
    label: str
    unit: str = ""
    change: Literal["points", "factor", ""] = ""


_FIGURES = {
    "top1": _Figure("top-1 accuracy", "%", "points"),
    "map": _Figure("average precision", "%", "points"),
    "map50": _Figure("average precision at IoU 0.5", "%", "points"),
    "map75": _Figure("average precision at IoU 0.75", "%", "points"),
    "map_small": _Figure("average precision, objects below 32² pixels", "%", "points"),
    "map_medium": _Figure("average precision, objects of 32² to 96² pixels", "%", "points"),
    "map_large": _Figure("average precision, objects above 96² pixels", "%", "points"),
    "ar1": _Figure("average recall, 1 detection an image", "%", "points"),
    "ar10": _Figure("average recall, 10 detections an image", "%", "points"),
    "ar100": _Figure("average recall, 100 detections an image", "%", "points"),
    "size_mb": _Figure("size of the file", "MB", "factor"),
    "fps": _Figure("images a second", "", "factor"),
    "latency_ms": _Figure("latency, mean", "ms", "factor"),
    "latency_median_ms": _Figure("latency, median", "ms", "factor"),
    "inference_memory_mb": _Figure("memory of the model", "MB", "factor"),
    "peak_memory_mb": _Figure("memory of the whole process", "MB", "factor"),
    "sparsity": _Figure("weights that are zero", "%"),
    "params": _Figure("parameters", "", "factor"),
    "macs": _Figure("multiply-accumulates", "", "factor"),
    "micronet_score": _Figure("score", "", "factor"),
}
"""The figures in the order of the rows; a metric that is not here comes last, without a change."""


@dataclass(frozen=True)
class Change:
    """One figure before and after, in words; a side that has none is empty."""

    label: str
    before: str
    after: str
    change: str


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> list[Change]:
    """A row for every figure that the second network has.

    Args:
        before: Figures of a network by metric, ``micronet_score:imt-2022``.
        after: Those of the network that it became.
    """
    names = list(_FIGURES)
    order = sorted(after, key=lambda key: names.index(_name(key)) if _name(key) in _FIGURES else len(names))
    return [_change(key, before.get(key), after[key]) for key in order]


def _change(key: str, before: float | None, after: float) -> Change:
    figure = _FIGURES.get(_name(key), _Figure(key))
    variant = key.partition(":")[2]
    label = f"{figure.label} {variant}" if variant and figure.label != key else figure.label
    shown = "" if before is None else _shown(figure, before)
    return Change(label, shown, _shown(figure, after), _stated(figure, before, after))


def _name(key: str) -> str:
    return key.partition(":")[0]


def _shown(figure: _Figure, value: float) -> str:
    if figure.unit == "%":
        return f"{value:.2%}"
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 10 else number(value)
    return f"{shown} {figure.unit}".strip()


def _stated(figure: _Figure, before: float | None, after: float) -> str:
    if before is None or not figure.change:
        return ""
    if figure.change == "points":
        return f"{100 * (after - before):+.2f} points"
    if before == after:
        return "unchanged"
    if not (before and after):
        return ""
    return f"÷ {before / after:,.2f}" if before > after else f"× {after / before:,.2f}"
