"""The classes of a folder's masks: as the study says, as a file says, or as a known data set has them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.tasks.segmentation.confusion import IGNORED
from searcher.tasks.segmentation.masks import ClassMap, Colour, mapped, values_of

FILE = "classes.json"

CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
"""The classes that are evaluated, with their ids; those of training are their places."""

CITYSCAPES_IDS = 34

ADE20K_CLASSES = 150
ADE20K_NAMES = "objectInfo150.txt"

_LOOKED_AT = 20


def class_map(folder: Path, masks: Sequence[Path], data: Data) -> ClassMap:
    """The classes of masks.

    Args:
        folder: The data's, in which `FILE` may be.
        masks: The files.
        data: As the study says; its classes are those of values from 0 on.

    Raises:
        SearcherError: They are not known, or `FILE` is damaged.
    """
    if data.classes:
        found = mapped(list(data.classes), [*range(len(data.classes))], [], set(data.ignore or ()))
    elif (folder / FILE).is_file():
        found = _from_file(folder / FILE, set(data.ignore or ()))
    else:
        found = _known(folder, masks) or _unknown(folder, masks)
    if not 2 <= len(found.names) <= IGNORED:
        raise SearcherError(f"{folder}: {len(found.names)} classes of masks, expected 2 to {IGNORED}")
    return found


def _from_file(path: Path, ignored: set[int]) -> ClassMap:
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
        names = [str(name) for name in given["classes"]]
        values = [int(value) for value in given.get("values", range(len(names)))]
        colours = [_colour(colour) for colour in given.get("colours", given.get("colors", []))]
        index = given.get("ignore_index", [])
        ignored = ignored | {int(value) for value in (index if isinstance(index, list) else [index])}
        if len(values) != len(names) or len(colours) not in (0, len(names)):
            raise ValueError(f"{len(names)} classes, {len(values)} values, {len(colours)} colours")
        if len(set(values)) < len(values) or len(set(colours)) < len(colours):
            raise ValueError("a value or a colour is there twice")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise SearcherError(
            f"{path}: expected classes, a list of names, and if you like values, colours and ignore_index: "
            f"{error}"
        ) from error
    return mapped(names, values, colours, ignored)


def _colour(given: Any) -> Colour:
    red, green, blue = (int(value) for value in given)
    return red, green, blue


def _known(folder: Path, masks: Sequence[Path]) -> ClassMap | None:
    """The classes of Cityscapes or of ADE20K, by the names of the files."""
    names = list(CITYSCAPES)
    if masks[0].stem.endswith("labelTrainIds"):
        return mapped(names, [*range(len(names))], [], set())
    if masks[0].stem.endswith("labelIds"):
        values = list(CITYSCAPES.values())
        return mapped(names, values, [], set(range(CITYSCAPES_IDS)) - set(values))
    if (folder / ADE20K_NAMES).is_file() or masks[0].name.startswith("ADE_"):
        return mapped(_ade20k_names(folder / ADE20K_NAMES), [*range(1, ADE20K_CLASSES + 1)], [], {0})
    return None


def _ade20k_names(path: Path) -> list[str]:
    """The first word of each class in the file that comes with the data; its number without that."""
    numbered = [f"class {number}" for number in range(1, ADE20K_CLASSES + 1)]
    if not path.is_file():
        return numbered
    rows = [line.rsplit("\t", 1)[-1] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    first = [row.partition(",")[0].strip() for row in rows if row.strip()]
    # Two classes are called alike in it.
    names = [name if first.count(name) == 1 else f"{name} {place + 1}" for place, name in enumerate(first)]
    return names if len(names) == ADE20K_CLASSES else numbered


def _unknown(folder: Path, masks: Sequence[Path]) -> ClassMap:
    found: set[int] = set()
    for path in masks[:_LOOKED_AT]:
        found |= set(values_of(path) or ())
    seen = ", ".join(map(str, sorted(found)[:10])) + (", ..." if len(found) > 10 else "")
    there = f"the values {seen}" if found else "colours"
    raise SearcherError(
        f"{folder}: masks have {there}: of which class is each? Say it in data.classes, in the order of the "
        f'values from 0 on, or in {folder / FILE}: {{"classes": ["road", "car"], "values": [0, 1], '
        f'"ignore_index": 255}}, of colours with "colours": [[128, 64, 128], [0, 0, 142]]'
    )
