"""A chart of step curves as SVG, for pages that are read without JavaScript."""

import statistics
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 420, 60, 40, 220, 50
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")
Curve = Sequence[tuple[float, float]]


SHOWN = 0.12
"""Of the highest value, the share that the axis shows: what is lower is the beginning of a search."""


def median(curves: Sequence[Curve]) -> Curve:
    """The median of step curves at every x, which is 0 before a curve begins; to the median of their ends."""
    end = statistics.median(curve[-1][0] for curve in curves)
    every = sorted({x for curve in curves for x, _ in curve if x <= end} | {end})
    return [(x, statistics.median(_at(curve, x) for curve in curves)) for x in every]


def _at(curve: Curve, x: float) -> float:
    return next((y for begun, y in reversed(curve) if begun <= x), 0.0)


def steps(curves: Mapping[str, Curve], *, title: str, across: str, up: str) -> str:
    """Curves that rise by steps, each in its colour, as the text of an SVG file.

    Args:
        curves: By name, points (x, y) with rising x.
        title: Above the chart.
        across: What x is, with its unit.
        up: What y is.
    """
    points = [point for curve in curves.values() for point in curve]
    right, high = max(x for x, _ in points), max(y for _, y in points)
    low = max(min(y for _, y in points), (1 - SHOWN) * high)

    def place(x: float, y: float) -> tuple[float, float]:
        share = max(0.0, y - low) / ((high - low) or 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * x / right, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, 22, title, 15),
        _text(LEFT, HEIGHT - 12, across),
        _text(LEFT, TOP - 4, up),
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, _ = place(share * right, low)
        _, y = place(0, low + share * (high - low))
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(x - 8, HEIGHT - BOTTOM + 16, f"{share * right:.3g}"))
        parts.append(_text(8, y + 4, f"{low + share * (high - low):.3g}"))
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = _path([place(x, y) for x, y in curve])
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = TOP + 20 * number + 10
        parts.append(
            f'<rect x="{WIDTH - RIGHT + 16}" y="{y - 9}" width="12" height="10" fill="{colour}"/>'
            + _text(WIDTH - RIGHT + 34, y, name)
        )
    return "\n".join([*parts, "</svg>\n"])


def _path(points: Sequence[tuple[float, float]]) -> str:
    x, y = points[0]
    parts = [f"M{x:.1f},{y:.1f}"]
    for x, y in points[1:]:
        parts.append(f"H{x:.1f}V{y:.1f}")
    return "".join(parts)


def _text(x: float, y: float, text: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="#333333">{escape(text)}</text>'
