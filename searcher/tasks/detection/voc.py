"""Pascal VOC's XML files in COCO's form."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from searcher.errors import SearcherError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def voc(files: Iterable[Path]) -> dict[str, Any]:
    """Annotations as COCO has them; classes in alphabetical order, `difficult` ones as crowds.

    VOC counts pixels from 1 and includes a box's last row and column. A box that ends where it begins, or
    before, has no extent. Nothing is judged here: what cannot be meant is left for `coco.cleaned`.

    Raises:
        SearcherError: A file is not XML.
    """
    images, objects = [], []
    for number, path in enumerate(files, 1):
        root = _root(path)
        sizes = {side: _number(root.findtext(f"size/{side}")) for side in ("width", "height")}
        name = _words(root.findtext("filename")) or f"{path.stem}.jpg"
        images.append({"id": number, "file_name": name, **sizes})
        objects += [(number, one) for one in root.iter("object")]
    names = sorted({name for _, one in objects if (name := _words(one.findtext("name")))})
    ids = {name: number for number, name in enumerate(names, 1)}
    return {
        "images": images,
        "annotations": [_annotation(image, one, ids) for image, one in objects],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise SearcherError(f"{path}: not an annotation as Pascal VOC has it: {error}") from error


def _annotation(image: int, one: ElementTree.Element, ids: dict[str, int]) -> dict[str, Any]:
    corners = [_number(one.findtext(f"bndbox/{corner}")) for corner in _CORNERS]
    return {
        "image_id": image,
        "category_id": ids.get(_words(one.findtext("name"))),
        "bbox": _box(*corners),
        "iscrowd": _words(one.findtext("difficult")) or 0,
    }


def _box(
    x1: float | None, y1: float | None, x2: float | None, y2: float | None
) -> tuple[float, float, float, float] | None:
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return x1 - 1, y1 - 1, _extent(x1, x2), _extent(y1, y2)


def _extent(first: float, last: float) -> float:
    return last - first + (last > first)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _words(text: str | None) -> str:
    return " ".join((text or "").split())
