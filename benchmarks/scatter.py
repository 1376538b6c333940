"""The trials of a search and their front as SVG, in the colours that the reader's system prefers."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, FOOT, ROW = 720, 60, 40, 56, 340, 26
STEP = 0.2
"""Megabytes of which the axis has a multiple."""

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


def drawn(points: Sequence[Point], *, title: str, least: float) -> str:
    """The chart, with a row for each point of the front below it.

    Args:
        points: Of each trial its `size_mb`, its `top1`, whether it is on the `front`, and its `recipe`.
        title: Above the chart.
        least: The accuracy at the foot of the chart; what is below is not drawn.
    """
    shown = [p for p in points if p["top1"] >= least]
    front = sorted((p for p in shown if p["front"]), key=lambda p: -float(p["size_mb"]))
    right = STEP * math.ceil(max(p["size_mb"] for p in shown) / STEP)
    places = {id(p): (_across(p["size_mb"] / right), _up((p["top1"] - least) / (1 - least))) for p in shown}
    height = FOOT + 62 + ROW * len(front)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        _text(16, 28, title, "title"),
        *_grid(right, least),
        *(_circle(*places[id(p)], 5, "trial") for p in shown if not p["front"]),
        f'<path class="step" d="{_path([places[id(p)] for p in front])}"/>',
    ]
    for number, point in enumerate(front, 1):
        row = FOOT + 66 + ROW * (number - 1)
        parts += [*_mark(*places[id(point)], number), *_mark(28, row - 6, number)]
        parts.append(_text(46, row, f"{point['size_mb']:.2f} MB, {point['top1']:.1%}: {_short(point)}"))
    return "\n".join([*parts, "</svg>\n"])


def _short(point: Point) -> str:
    """A recipe without the model, which all have, and without how channels were chosen."""
    said = re.sub(r" \([^)]*\)", "", point["recipe"]).partition("; ")[2] or "as it came"
    return said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"


def _across(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _up(share: float) -> float:
    return FOOT - (FOOT - TOP) * share


def _grid(right: float, least: float) -> Iterator[str]:
    """The lines and the figures of both axes."""
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = _across(share), _up(share)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LEFT - 8, y + 5, f"{least + share * (1 - least):.0%}", "end")
        yield _text(
            x, FOOT + 22, f"{share * right:.2f} MB" if share == 1 else f"{share * right:.2f}", "middle"
        )


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
