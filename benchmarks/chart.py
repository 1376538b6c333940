"""A chart of step curves as SVG, for pages that are read without JavaScript."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 420, 60, 40, 220, 50
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5")
Curve = Sequence[tuple[float, float]]


def steps(curves: Mapping[str, Sequence[Curve]], *, title: str, across: str, up: str) -> str:
    """Curves that rise by steps, several of each name in its colour, as the text of an SVG file.

    Args:
        curves: By name, curves of points (x, y) with rising x.
        title: Above the chart.
        across: What x is, with its unit.
        up: What y is.
    """
    points = [point for found in curves.values() for curve in found for point in curve]
    right, low = max(x for x, _ in points), min(y for _, y in points)
    high = max(y for _, y in points)

    def place(x: float, y: float) -> tuple[float, float]:
        share = (y - low) / ((high - low) or 1)
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
    for number, (name, found) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        for curve in found:
            path = _path([place(x, y) for x, y in curve])
            parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
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
