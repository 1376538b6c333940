"""COCO's own layout: ``annotations/instances_*.json``, a file a split, and images in folders of its name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searcher.errors import SearcherError
from searcher.tasks.splits import NAMES


def files(folder: Path) -> list[Path]:
    """The files of annotations, by name."""
    return sorted((folder / "annotations").glob("instances_*.json"))


def merged(folder: Path, contents: Mapping[Path, Mapping[str, Any]]) -> dict[str, Any]:
    """The annotations of several files as those of one, whose image ids are ``NAME/ID``.

    Args:
        folder: The data's.
        contents: What each file holds.
    """
    images: list[Any] = []
    annotations: list[Any] = []
    categories: list[Any] = []
    for path, content in contents.items():
        name, place = _name(path), _place(folder, _name(path))
        images += [_moved(one, name, place) for one in _listed(content, "images", path)]
        annotations += [_renamed(one, "image_id", name) for one in _listed(content, "annotations", path)]
        # Each file lists them all.
        categories += [one for one in _listed(content, "categories", path) if one not in categories]
    return {"images": images, "annotations": annotations, "categories": categories}


def splits(folder: Path, ids: Sequence[str]) -> dict[str, list[str]] | None:
    """The ids of `merged` by split; None where one file has all images.

    Raises:
        SearcherError: A file is of no split that is known.
    """
    names = [_name(path) for path in files(folder)]
    if len(names) < 2:
        return None
    parts: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for name in names:
        part = NAMES.get(name.rstrip("0123456789").lower())
        if part is None:
            raise SearcherError(
                f"{folder}: annotations/instances_{name}.json: of no split, expected train, val or test"
            )
        parts[part] += [one for one in ids if one.startswith(f"{name}/")]
    return parts


def _name(path: Path) -> str:
    return path.stem.removeprefix("instances_")


def _place(folder: Path, name: str) -> str:
    """The folder of a split's images within the data's."""
    bare = name.rstrip("0123456789")
    places = (name, f"images/{name}", bare, f"images/{bare}", "images")
    return next((place for place in places if (folder / place).is_dir()), name)


def _listed(content: Mapping[str, Any], part: str, path: Path) -> list[Any]:
    found = content.get(part) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise SearcherError(f"{path}: not annotations as COCO has them: {part}: expected a list")
    return found


def _moved(image: Any, name: str, place: str) -> Any:
    renamed = _renamed(image, "id", name)
    file = renamed.get("file_name") if isinstance(renamed, dict) else None
    return {**renamed, "file_name": f"{place}/{file}"} if isinstance(file, str) and file.strip() else renamed


def _renamed(one: Any, key: str, name: str) -> Any:
    given = one.get(key) if isinstance(one, dict) else None
    return {**one, key: f"{name}/{given}"} if isinstance(given, int | str) else one
