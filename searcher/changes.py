"""Before and after: a network's figures beside those of another, and the change as practitioners state it."""

from collections.abc import Mapping
from dataclasses import dataclass

from searcher.report import number


@dataclass(frozen=True)
class _Figure:
    label: str
    unit: str = ""
    sign: str = ""


_FIGURES = {
    "top1": _Figure("top-1 accuracy", "%", "points"),
    "size_mb": _Figure("size of the file", "MB", "÷"),
    "fps": _Figure("images a second", "", "×"),
    "latency_ms": _Figure("latency, mean", "ms", "÷"),
    "latency_median_ms": _Figure("latency, median", "ms", "÷"),
    "inference_memory_mb": _Figure("memory of the model", "MB", "÷"),
    "peak_memory_mb": _Figure("memory of the whole process", "MB", "÷"),
    "sparsity": _Figure("weights that are zero", "%"),
    "params": _Figure("parameters", "", "÷"),
    "macs": _Figure("multiply-accumulates", "", "÷"),
    "micronet_score": _Figure("score", "", "÷"),
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
    shown = f"{value:,.0f}" if value >= 100 else number(value)
    return f"{shown} {figure.unit}".strip()


def _stated(figure: _Figure, before: float | None, after: float) -> str:
    if before is None or not figure.sign:
        return ""
    if figure.sign == "points":
        return f"{100 * (after - before):+.2f} points"
    large, small = (before, after) if figure.sign == "÷" else (after, before)
    return f"{figure.sign} {large / small:,.2f}" if small else ""
