"""A CSV file of images' paths and labels, and where it has a third column, of their splits."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from searcher.errors import SearcherError, nearest
from searcher.tasks.classification.listed import Item, Listing
from searcher.tasks.splits import NAMES

PATH, LABEL, SPLIT = ("path", "image", "file", "filename", "file_name"), ("label", "class"), ("split",)
"""The names that the columns may have."""


def listing(path: Path) -> Listing:
    """The images of a table, whose paths are relative to it.

    Raises:
        SearcherError: A column is missing, a row is incomplete, or a file is not there.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise SearcherError(f"{path}: no CSV that can be read: {error}") from error
    head = [name.strip().lower() for name in (rows[0] if rows else [])]
    of, label = _column(head, PATH, path), _column(head, LABEL, path)
    split = next((head.index(name) for name in SPLIT if name in head), None)
    dropped: Counter[str] = Counter()
    items: dict[Path, Item] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        item = _item(row, of, label, split, f"{path}, line {number}", path.parent, len(head))
        if items.setdefault(item.path, item) != item:
            raise SearcherError(f"{path}, line {number}: {row[of].strip()} is there before, as another one")
        dropped["image listed twice"] += items[item.path] is not item
    if not items:
        raise SearcherError(f"{path}: no images")
    _refuse_missing(path, list(items))
    given = ", with splits" if split is not None else ""
    return Listing(str(path), f"a table of images and labels in {path}{given}", list(items.values()), dropped)


def _column(head: Sequence[str], names: Sequence[str], path: Path) -> int:
    for name in names:
        if name in head:
            return head.index(name)
    semicolons = "; it is divided by semicolons, expected commas" if len(head) == 1 and ";" in head[0] else ""
    near = nearest(names[0], head) if any(head) else "; it is empty"
    raise SearcherError(f"{path}: no column {' or '.join(names)}{semicolons or near}")


def _item(
    row: Sequence[str], of: int, label: int, split: int | None, where: str, folder: Path, columns: int
) -> Item:
    if len(row) < columns:
        raise SearcherError(f"{where}: {len(row)} cells, expected {columns}")
    file, name = row[of].strip(), row[label].strip()
    if not file or not name:
        raise SearcherError(f"{where}: no {'path' if not file else 'label'}")
    part = row[split].strip().lower() if split is not None else ""
    if split is not None and part not in NAMES:
        raise SearcherError(f"{where}: split {row[split]!r}, expected one of train, validation, test")
    return Item(folder / Path(file).expanduser(), name, NAMES.get(part, ""))


def _refuse_missing(path: Path, files: Sequence[Path]) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise SearcherError(f"{path}: {len(missing)} of {len(files)} files are not there, e.g. {missing[0]}")
