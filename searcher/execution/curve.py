"""A trial's curve: what it reported while it ran, a row a report, in a CSV file."""

import csv
import math
from dataclasses import astuple, dataclass, fields
from pathlib import Path

CURVE = "curve.csv"


@dataclass(frozen=True)
class Point:
    """A report: seconds since the trial's start, the stage, its epoch, and the validation accuracy.

    `accuracy` lies between 0 and 1, and is NaN where the stage has none: an empty cell in the file.
    """

    seconds: float
    stage: str
    epoch: int
    epochs: int
    accuracy: float


_NAMES = [field.name for field in fields(Point)]


class Curve:
    """A curve that is being written. Every row is in the file at once, so that a crash leaves them all.

    With `resume` it goes on after what the file holds already.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        before = read(path) if resume else []
        self._path = path
        self._append(_NAMES, mode="w")
        for point in before:
            self.add(point)

    def add(self, point: Point) -> None:
        """Append a row."""
        seconds, *rest, accuracy = astuple(point)
        self._append([f"{seconds:.3f}", *rest, "" if math.isnan(accuracy) else f"{accuracy:.6f}"], mode="a")

    def _append(self, cells: list[object] | list[str], mode: str) -> None:
        with self._path.open(mode, encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(cells)


def read(path: Path) -> list[Point]:
    """The rows of a curve's file; none where there is no file, and without a last row that is cut off."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    whole = text[: text.rfind("\n") + 1]
    return [_point(row) for row in csv.DictReader(whole.splitlines())]


def _point(row: dict[str, str]) -> Point:
    accuracy = float(row["accuracy"]) if row["accuracy"] else math.nan
    return Point(float(row["seconds"]), row["stage"], int(row["epoch"]), int(row["epochs"]), accuracy)
