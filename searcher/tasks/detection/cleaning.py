"""Annotations without what cannot be meant, each part that is left out counted by its reason."""

import math
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from searcher.errors import SearcherError

Dropped = Counter[str]
Box = tuple[float, float, float, float]

TOLERANCE = 1.0
"""Pixels by which a box may lie beyond its image: annotators round."""

_WIDEST = 2**62
"""Of the numbers that images and categories may have, so that a tensor holds them."""


def key(value: object) -> str | None:
    """An id as text, the same for 7, 7.0 and "7"; None for what is no id."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def images(
    listed: Sequence[Any], dropped: Dropped
) -> tuple[list[dict[str, Any]], dict[str, int], frozenset[int]]:
    """Each image file once.

    Args:
        listed: What stands under `images`.
        dropped: What is left out is counted here.

    Returns:
        The images; the number of each by its id as text, where a file of several ids has one number; and the
        numbers of those.
    """
    usable = [found for one in listed if (found := _image(one, dropped))]
    files: dict[str, set[str]] = {}
    for text, image in usable:
        files.setdefault(text, set()).add(_file(image))
    twofold = {text for text, names in files.items() if len(names) > 1}
    dropped["image whose id another one has too"] += sum(text in twofold for text, _ in usable)
    whole = [(text, image) for text, image in usable if text not in twofold]
    numbers = _numbers(text for text, _ in whole)
    first: dict[str, int] = {}
    kept, merged = [], set()
    for text, image in whole:
        file, number = _file(image), numbers[text]
        if file not in first:
            first[file] = number
            kept.append({**image, "id": number})
            continue
        dropped["image listed twice"] += 1
        numbers[text] = first[file]
        if number != first[file]:
            merged.add(first[file])
    return kept, numbers, frozenset(merged)


def _image(one: Any, dropped: Dropped) -> tuple[str, dict[str, Any]] | None:
    given = one if isinstance(one, dict) else {}
    text, name = key(given.get("id")), given.get("file_name")
    width, height = (_pixels(given.get(side)) for side in ("width", "height"))
    if text is None or not isinstance(name, str) or not name.strip() or not width or not height:
        dropped["image without a usable id, name or size"] += 1
        return None
    return text, {**given, "width": width, "height": height}


def _pixels(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number > 0 and number.is_integer() else None


def _file(image: Mapping[str, Any]) -> str:
    return posixpath.normpath(str(image["file_name"]))


def _numbers(texts: Iterable[str]) -> dict[str, int]:
    """A number for each id: its own, or where it has none, one that no other has."""
    every = list(dict.fromkeys(texts))
    own = {text: number for text in every if (number := _whole(text)) is not None}
    fresh = max([0, *own.values()]) + 1
    others = [text for text in every if text not in own]
    return own | {text: fresh + place for place, text in enumerate(others)}


def _whole(text: str) -> int | None:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 19:
        return None
    number = int(text)
    return number if str(number) == text and abs(number) < _WIDEST else None


def categories(
    listed: Sequence[Any], dropped: Dropped, where: str
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Each category once by its name without blanks around it, and the number of each by its id as text.

    Raises:
        SearcherError: One id has two names.
    """
    named: dict[str, str] = {}
    given: dict[str, dict[str, Any]] = {}
    for one in listed:
        text = key(one.get("id")) if isinstance(one, dict) else None
        if text is None:
            dropped["category without an id"] += 1
            continue
        name = " ".join(str(one.get("name") or text).split())
        if named.setdefault(text, name) != name:
            raise SearcherError(f"{where}: category {text} is both {named[text]!r} and {name!r}")
        dropped["category listed twice"] += text in given
        given.setdefault(text, one)
    numbers = _numbers(named)
    first: dict[str, int] = {}
    for text, name in named.items():
        if first.setdefault(name, numbers[text]) != numbers[text]:
            dropped["category of the same name as another, taken for it"] += 1
    kept = [
        {**given[text], "id": numbers[text], "name": name}
        for text, name in named.items()
        if first[name] == numbers[text]
    ]
    return kept, {text: first[name] for text, name in named.items()}


class Annotations:
    """Annotations without those that cannot be meant, given their images and categories."""

    def __init__(
        self,
        listed: Sequence[Mapping[str, Any]],
        images: Mapping[str, int],
        categories: Mapping[str, int],
        merged: frozenset[int],
        dropped: Dropped,
    ) -> None:
        self._sizes = {image["id"]: (image["width"], image["height"]) for image in listed}
        self._images, self._categories, self._merged = images, categories, merged
        self._dropped = dropped
        self._seen: set[tuple[Any, ...]] = set()

    def kept(self, annotations: Sequence[Any]) -> list[dict[str, Any]]:
        """Valid annotations, numbered from 1; a box that is partly outside of its image is clipped."""
        found = [kept for one in annotations if (kept := self._one(one))]
        return [{**one, "id": number} for number, one in enumerate(found, 1)]

    def _one(self, given: Any) -> dict[str, Any] | None:
        one = given if isinstance(given, dict) else {}
        reason, box = "", _box(one.get("bbox"))
        image = self._images.get(key(one.get("image_id")) or "")
        category = self._categories.get(key(one.get("category_id")) or "")
        crowd = _flag(one.get("iscrowd"))
        if image is None:
            reason = "annotation of an image that is not listed"
        elif category is None:
            reason = "annotation of an unknown category"
        elif box is None:
            reason = "box that is not four finite numbers"
        elif crowd is None:
            reason = "crowd flag that is neither 0 nor 1"
        elif box[2] <= 0 or box[3] <= 0:
            reason = "box without area"
        else:
            box = self._clipped(box, self._sizes[image])
            if box is None:
                reason = "box outside of its image"
            elif self._again(image, category, box, crowd):
                reason = "annotation of an image listed twice, there twice itself"
        if reason or box is None:
            self._dropped[reason] += 1
            return None
        named = {"image_id": image, "category_id": category, "bbox": list(box), "iscrowd": crowd}
        return {**one, **named, "area": self._area(one.get("area"), box)}

    def _clipped(self, box: Box, sizes: tuple[int, int]) -> Box | None:
        (x, y, width, height), (right, bottom) = box, sizes
        x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + width, right), min(y + height, bottom)
        if x2 <= x1 or y2 <= y1:
            return None
        if max(-x, -y, x + width - right, y + height - bottom) <= TOLERANCE:
            return box
        self._dropped["box clipped to its image"] += 1
        return x1, y1, x2 - x1, y2 - y1

    def _again(self, image: int, *rest: Any) -> bool:
        """Whether another listing of the same image had the same annotation."""
        if image not in self._merged:
            return False
        before = len(self._seen)
        self._seen.add((image, *rest))
        return len(self._seen) == before

    def _area(self, given: object, box: Box) -> float:
        own, area = box[2] * box[3], _number(given)
        if given and (area is None or area < 0):
            self._dropped["area that cannot be one, its box's instead"] += 1
            return own
        return area or own


def _box(given: object) -> Box | None:
    if not isinstance(given, list | tuple) or len(given) != 4:
        return None
    x, y, width, height = (_number(value) for value in given)
    if x is None or y is None or width is None or height is None:
        return None
    return (x, y, width, height) if math.isfinite(x + width) and math.isfinite(y + height) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _flag(value: object) -> int | None:
    number = 0.0 if value is None or value is False else 1.0 if value is True else _number(value)
    return int(number) if number in (0, 1) else None
