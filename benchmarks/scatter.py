"""Networks by accuracy and cost, and their front, as SVG in the colours that the reader's system prefers."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, FOOT, ROW = 720, 60, 40, 56, 340, 26
LONGEST = 62
"""Letters of a recipe for which there is room."""

STYLE = """
text { font: 16px sans-serif; fill: #333333 }
.title { font-size: 19px }
.number { font: bold 13px sans-serif; fill: #ffffff; text-anchor: middle }
.end { text-anchor: end }
.middle { text-anchor: middle }
.ground { fill: #ffffff }
.grid { stroke: #dddddd }
.trial { fill: #9aa4b2 }
.step { fill: none; stroke: #4269d0; stroke-width: 2 }
.front { fill: #4269d0 }
@media (prefers-color-scheme: dark) {
  text { fill: #dddddd }
  .number { fill: #ffffff }
  .ground { fill: #0d1117 }
  .grid { stroke: #333a44 }
  .trial { fill: #6b7683 }
  .step { stroke: #6f8fe8 }
}
"""

Point = dict[str, Any]


@dataclass(frozen=True)
class Axes:
    """What is drawn across and up.

    Attributes:
        cost: The key of a point's cost.
        unit: Of the cost; empty where it has none.
        step: The axis of the cost ends at a multiple of it.
        digits: Behind the point of a cost.
        least: The accuracy at the foot of the chart; what is below is not drawn.
        most: The accuracy at its top.
    """

    cost: str = "size_mb"
    unit: str = "MB"
    step: float = 0.2
    digits: int = 2
    least: float = 0.0
    most: float = 1.0

    def said(self, cost: float) -> str:
        """A cost with its unit."""
        return f"{cost:.{self.digits}f} {self.unit}".strip()


def drawn(points: Sequence[Point], *, title: str, legend: str = "", **axes: Any) -> str:
    """The chart, with a row for each point of the front below it.

    Args:
        points: Of each network its cost, its `top1`, whether it is on the `front`, and its `recipe`.
        title: Above the chart.
        legend: Below the rows.
        axes: As `Axes` has them.
    """
    along = Axes(**axes)
    shown = [p for p in points if p["top1"] >= along.least]
    front = sorted((p for p in shown if p["front"]), key=lambda p: -float(p[along.cost]))
    right = along.step * math.ceil(round(max(p[along.cost] for p in shown) / along.step, 6))
    high = along.most - along.least
    places = {id(p): (_across(p[along.cost] / right), _up((p["top1"] - along.least) / high)) for p in shown}
    height = FOOT + 62 + ROW * (len(front) + bool(legend))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        _text(16, 28, title, "title"),
        *_grid(right, along),
        *(_circle(*places[id(p)], 5, "trial") for p in shown if not p["front"]),
        f'<path class="step" d="{_path([places[id(p)] for p in front])}"/>',
    ]
    for number, point in enumerate(front, 1):
        row = FOOT + 66 + ROW * (number - 1)
        parts += [*_mark(*places[id(point)], number), *_mark(28, row - 6, number)]
        parts.append(_text(46, row, f"{along.said(point[along.cost])}, {point['top1']:.1%}: {_short(point)}"))
    if legend:
        row = FOOT + 66 + ROW * len(front)
        parts += [_circle(28, row - 6, 5, "trial"), _text(46, row, legend)]
    return "\n".join([*parts, "</svg>\n"])


def _short(point: Point) -> str:
    """A recipe without the model, which all have, and without how channels were chosen."""
    said = re.sub(r" \([^)]*\)", "", point["recipe"]).partition("; ")[2] or "as it came"
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def _across(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _up(share: float) -> float:
    return FOOT - (FOOT - TOP) * share


def _grid(right: float, axes: Axes) -> Iterator[str]:
    """The lines and the figures of both axes."""
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = _across(share), _up(share)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 8, y + 5, f"{100 * (axes.least + share * (axes.most - axes.least)):.3g}%", "end")
        told = axes.said(share * right) if share == 1 else f"{share * right:.{axes.digits}f}"
        yield _text(x, FOOT + 22, told, "middle")


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Steps from the most costly point to the cheapest: what is between two is no better than the cheaper."""
    (x, y), *rest = points
    return f"M{x:.1f},{y:.1f}" + "".join(f"V{y:.1f}H{x:.1f}" for x, y in rest)


def _circle(x: float, y: float, radius: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def _mark(x: float, y: float, number: int) -> list[str]:
    return [_circle(x, y, 10, "front"), _text(x, y + 5, str(number), "number")]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
