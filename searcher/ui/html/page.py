"""A page of its own: one HTML file with tables and figures that needs nothing from the network."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from searcher.errors import SearcherError
from searcher.files import in_one_step

_TEMPLATES = Path(__file__).parent / "templates"
WIDE_FROM = 40
"""Characters of a text from which on its column is a wide one."""


@dataclass(frozen=True)
class Section:
    """A part of a page: its title, a line beneath it, and what the functions below have made.

    Those that are `half` as wide as the page stand in two columns where there is room.
    """

    title: str
    body: Sequence[Markup]
    note: str = ""
    half: bool = False


@dataclass(frozen=True)
class Cell:
    """A table's cell: what is shown, and what it is sorted by; numbers stand on the right.

    `mark` is ``good`` or ``bad`` where the text says so too.
    """

    text: str
    value: str | float
    side: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Told:
    """A line of a verdict, and whether it is a good one."""

    text: str
    good: bool


@dataclass(frozen=True)
class Card:
    """The card of a chosen trial; `compares` where the page has a `comparison` with it."""

    trial: int
    title: str
    badge: str
    lines: Sequence[str]
    facts: Sequence[tuple[str, str]]
    compares: bool = False


def page(title: str, sections: Sequence[Section], *, lead: str = "", foot: str = "") -> str:
    """A whole page.

    Args:
        title: The page's title and heading; like every text here it is escaped.
        sections: Its parts.
        lead: A line below the heading.
        foot: A line at the end.
    """
    drawn = any('class="plot"' in piece for section in sections for piece in section.body)
    return (
        _templates()
        .get_template("page.html.jinja")
        .render(
            title=title,
            lead=lead,
            foot=foot,
            groups=[(half, list(found)) for half, found in groupby(sections, lambda section: section.half)],
            style=Markup(_asset("page.css")),
            script=Markup(_asset("page.js")),
            plotly=Markup(get_plotlyjs()) if drawn else "",
        )
    )


def figure(chart: go.Figure, caption: str = "") -> Markup:
    """A Plotly figure with its caption; a click on a point with a trial's number as customdata chooses it."""
    # Plotly escapes what could end a script element.
    spec = Markup(chart.to_json())
    return _part("figure", spec, int(chart.layout.height or 380), caption)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Cell | str]],
    *,
    trials: Sequence[int] | None = None,
    sortable: bool = False,
) -> Markup:
    """A table.

    Args:
        headers: The columns' names.
        rows: Cells; a text alone is sorted by itself.
        trials: The rows' trials: choosing one marks it everywhere on the page.
        sortable: Whether a click on a header sorts by it.
    """
    cells = [[cell if isinstance(cell, Cell) else text(cell) for cell in row] for row in rows]
    sides = [_side([row[i] for row in cells]) for i in range(len(headers))]
    named = [{"text": _breakable(name, ":"), "side": side} for name, side in zip(headers, sides, strict=True)]
    numbers: Sequence[int | None] = trials if trials is not None else [None] * len(rows)
    lines = [{"cells": row, "trial": number} for row, number in zip(cells, numbers, strict=True)]
    return _part("table", named, lines, sortable)


def text(content: str) -> Cell:
    """A cell of text, in a wide column where it is long."""
    return Cell(_breakable(content, ":_"), content, "wide" if len(content) > WIDE_FROM else "")


def amount(content: str, value: float | str = "", mark: str = "") -> Cell:
    """A cell of a number as it is shown, sorted by its value; a sign stays with what follows it."""
    return Cell(re.sub("([÷×±+−]) ", "\\1\u00a0", content), value, "right", mark)


def _breakable(name: str, after: str) -> Markup:
    """A name that may go on in a second line after certain characters."""
    parts = re.split(f"(?<=[{after}])", name)
    return Markup("<wbr>").join(Markup.escape(part) for part in parts)


def _side(column: Sequence[Cell]) -> str:
    sides = {cell.side for cell in column if cell.text}
    return "right" if sides == {"right"} else ""


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Names and values in as many columns as fit."""
    return _part("facts", pairs)


def told(lines: Sequence[Told]) -> Markup:
    """The lines of a verdict, the good and the bad ones marked."""
    return _part("told", lines)


def columns(pieces: Sequence[Markup]) -> Markup:
    """Pieces side by side, two in a line where there is room."""
    return _part("columns", pieces)


def gallery(caption: str, pieces: Sequence[Markup]) -> Markup:
    """Pictures in as many columns as fit, with a caption."""
    return _part("gallery", caption, pieces)


def picture(path: Path, caption: str) -> Markup:
    """A PNG file, kept within the page, with its caption."""
    content = base64.b64encode(path.read_bytes()).decode()
    return _part("picture", f"data:image/png;base64,{content}", caption)


def folded(title: str, pieces: Sequence[Markup]) -> Markup:
    """Pieces that are hidden until their title is clicked."""
    return _part("folded", title, pieces)


def chooser(figures: Sequence[Markup], hint: str, cards: Sequence[Card]) -> Markup:
    """Figures beside the card of the trial that was chosen in one of them, or in a table."""
    return _part("chooser", figures, hint, cards)


def comparison(
    options: Sequence[tuple[int, str]], chosen: tuple[int, int], content: Mapping[str, Any]
) -> Markup:
    """Two trials side by side, what differs marked; a reader chooses which.

    Args:
        options: The trials that can be chosen, each with a line about it.
        chosen: Those that are shown first.
        content: As `searcher.ui.html.comparison.compared` gives it.
    """
    # A name must not end the script element.
    spec = Markup(json.dumps(content).replace("<", "\\u003c"))
    return _part("comparison", options, chosen, spec)


def paragraph(content: str, kind: str = "") -> Markup:
    """A paragraph; its kind is ``note`` or ``warning``, or none."""
    return _part("paragraph", content, kind)


def is_page(content: bytes) -> bool:
    """Whether this is a page that `render` has made."""
    return b'<meta name="generator" content="searcher">' in content[:500]


def write(path: Path, content: str) -> None:
    """Write a page in one step.

    Raises:
        SearcherError: The path cannot be written.
    """
    if path.is_dir():
        raise SearcherError(f"{path} cannot be written: it is a folder")
    try:
        with in_one_step(path) as part:
            part.write_text(content, encoding="utf-8")
    except OSError as error:
        raise SearcherError(f"{path} cannot be written: {error.strerror or error}") from error


def _part(name: str, *args: Any) -> Markup:
    made: Markup = getattr(_templates().get_template("parts.html.jinja").module, name)(*args)
    return made


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
