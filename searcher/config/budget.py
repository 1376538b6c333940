"""A budget as a line of text, ``macs <= 0.5x``, and the constraint that it is."""

import re

from pydantic import ValidationError

from searcher.config.metric import Constraint, named
from searcher.errors import SearcherError

_LINE = re.compile(r"\s*([A-Za-z_][\w:.\- ]*?)\s*(<=|>=)\s*(\S+)\s*")

EXPECTED = (
    'expected a metric, <= or >=, and a number, as in "size_mb <= 2" and "top1 >= 0.9", so many times the '
    'model as it came, "macs <= 0.5x", or a drop from it, "top1 >= -0.01"'
)


def constraint(text: str) -> Constraint:
    """The constraint of a line.

    Args:
        text: ``METRIC <= NUMBER``, ``METRIC >= NUMBER``; a number with an x is that many times the model as
            it came, and one below 0 after >= is how far the metric may fall below it. A score's variant
            follows its name after a colon.

    Raises:
        SearcherError: It is none.
    """
    match = _LINE.fullmatch(text)
    if not match:
        raise SearcherError(f"budget {text!r}: {EXPECTED}")
    key, sign, value = match.groups()
    try:
        return Constraint.model_validate(named(key).model_dump() | _limit(sign, value))
    except (ValueError, ValidationError) as error:
        raise SearcherError(f"budget {text!r}: {value!r} is no bound: {EXPECTED}") from error


def _limit(sign: str, value: str) -> dict[str, float | str]:
    side = "at_most" if sign == "<=" else "at_least"
    if value.endswith("x"):
        return {side: value}
    number = float(value)
    if number >= 0:
        return {side: number}
    if side == "at_most":
        raise ValueError("no figure is below 0")
    return {"at_most_drop": -number}
