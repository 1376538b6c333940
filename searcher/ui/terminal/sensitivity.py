"""The sensitivity of a network's blocks as a table and as rows."""

import pandas as pd
from rich.table import Table

from searcher.searching.sensitivity import Effect, Sensitivity
from searcher.wording import several

COLUMNS = ("block", "technique", "loss", "quality", "params", "reason")
"""Of the rows."""


def points(found: Sensitivity, effect: Effect) -> str:
    """The loss as it is shown: 1.25, or a dash."""
    loss = found.loss(effect)
    return "–" if loss is None else f"{loss:.2f}"


def lead(found: Sensitivity) -> str:
    """The measurement, in a line."""
    images = several(found.images, "image").replace(str(found.images), f"{found.images:,}", 1)
    return f"{found.figure} {found.quality:.4f} as it came, on {images} of the validation split"


def table(found: Sensitivity) -> Table:
    """A row for each block and technique, the least harmful first; the loss in points."""
    shown = Table(title=found.title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name, justify in (
        ("block", "left"),
        ("technique", "left"),
        ("loss", "right"),
        (found.figure, "right"),
    ):
        shown.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    shown.add_column("parameters", justify="right")
    for effect in found.ordered():
        if effect.quality is None:
            continue
        count = f"{found.params[effect.block]:,}"
        shown.add_row(effect.block, effect.technique, points(found, effect), f"{effect.quality:.4f}", count)
    return shown


def refused(found: Sensitivity) -> list[str]:
    """A line for each thing that cannot be done, and why."""
    left_out = (effect for effect in found.effects if effect.quality is None)
    return [f"cannot be done: {effect.block}, {effect.technique}: {effect.reason}" for effect in left_out]


def rows(found: Sensitivity) -> list[dict[str, object]]:
    """The same as plain data, the loss in points."""
    return [
        {
            "block": effect.block,
            "technique": effect.technique,
            "loss": found.loss(effect),
            "quality": effect.quality,
            "params": found.params[effect.block],
            "reason": effect.reason,
        }
        for effect in found.ordered()
    ]


def frame(found: Sensitivity) -> pd.DataFrame:
    """The same as a table of numbers."""
    return pd.DataFrame(rows(found), columns=list(COLUMNS))
