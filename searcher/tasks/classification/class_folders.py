"""Images in a folder for each class: ``CLASS/*.jpg``, or ``train|val|test/CLASS/*.jpg``."""

import os
from collections import Counter
from pathlib import Path

from searcher.errors import SearcherError
from searcher.tasks.classification.listed import Item, Listing
from searcher.tasks.images import SUFFIXES
from searcher.tasks.splits import NAMES

_OTHER = "file that is no image by its name"


def listing(folder: Path, *, by_split: bool) -> Listing:
    """The images of class folders, or of such folders for each split.

    Raises:
        SearcherError: A class has no image, images lie beside class folders, or layouts are mixed.
    """
    dropped: Counter[str] = Counter()
    if not by_split:
        items = _classes(folder, "", dropped)
        layout = f"class folders in {folder}"
    else:
        parts = folders(folder)
        strange = [path.name for path in parts if path.name.lower() not in NAMES]
        if strange:
            raise SearcherError(
                f"{folder} mixes layouts: folders of splits ({_names(parts, strange)}) beside "
                f"{', '.join(strange[:3])}; expected CLASS/*.jpg, or all classes within train/, val/, test/"
            )
        _refuse_loose(folder)
        _refuse_doubles(folder, parts)
        items = [item for path in parts for item in _classes(path, NAMES[path.name.lower()], dropped)]
        layout = f"class folders by split in {folder}: {', '.join(path.name for path in parts)}"
    return Listing(str(folder), layout, items, dropped)


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name; hidden ones and those of other tools are none."""
    with os.scandir(folder) as found:
        names = [one.name for one in found if one.is_dir() and not one.name.startswith((".", "__"))]
    return [folder / name for name in sorted(names)]


def images(folder: Path, dropped: Counter[str] | None = None) -> list[Path]:
    """The images in a folder, by name; what is none is counted."""
    with os.scandir(folder) as found:
        names = [one.name for one in found if one.is_file() and not one.name.startswith(".")]
    kept = [name for name in names if name[name.rfind(".") :].lower() in SUFFIXES]
    if dropped is not None and len(names) > len(kept):
        dropped[_OTHER] += len(names) - len(kept)
    return [folder / name for name in sorted(kept)]


def _classes(folder: Path, split: str, dropped: Counter[str]) -> list[Item]:
    _refuse_loose(folder)
    found = []
    for one in folders(folder):
        paths = images(one, dropped)
        if not paths:
            inner = [path.name for path in folders(one)]
            beneath = f"; it has folders: {', '.join(inner[:3])}" if inner else ""
            raise SearcherError(f"{folder}: class {one.name!r} has no images{beneath}")
        found += [Item(path, one.name, split) for path in paths]
    if not found:
        raise SearcherError(f"{folder}: no class folders, expected CLASS/*.jpg")
    return found


def _refuse_loose(folder: Path) -> None:
    loose = images(folder)
    if loose:
        raise SearcherError(
            f"{folder}: images beside class folders, e.g. {loose[0].name}: of which class are they? "
            "Move them into a class's folder, or out of here"
        )


def _refuse_doubles(folder: Path, parts: list[Path]) -> None:
    taken: dict[str, str] = {}
    for path in parts:
        other = taken.setdefault(NAMES[path.name.lower()], path.name)
        if other != path.name:
            raise SearcherError(f"{folder}: {other}/ and {path.name}/ are the same split by two names")


def _names(parts: list[Path], strange: list[str]) -> str:
    return ", ".join(path.name for path in parts if path.name not in strange)
