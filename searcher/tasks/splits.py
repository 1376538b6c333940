"""Splits of a user's own data: given or drawn, every class in each, and no image in two of them."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.wording import several

PARTS = ("test", "validation", "train")
"""The splits; an image that is in several stays in the first of them."""

NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""The splits by what they are called in folders and tables."""

TWIN = "image whose pixels another split has under another name"
SHOWN_CLASSES = 20
"""Whose images are counted for a reader."""

SHARE = 0.15
"""Of the images, for each split that is drawn."""


def divided(
    labels: Sequence[int], given: Sequence[str], classes: Sequence[str], data: Data, where: str
) -> tuple[dict[str, list[int]], str]:
    """The places of the images of each split, in an order that is drawn from the seed.

    What is given stays; validation and test, where they are not, are drawn from the rest, class by class.

    Args:
        labels: Of each image, its class.
        given: Of each image, its split; empty where none is given.
        classes: The classes' names.
        data: The shares and the seed.
        where: The data, for messages.

    Returns:
        The places by split, and in words how they came about.

    Raises:
        SearcherError: A class has too few images, or is not in all splits that need it.
    """
    parts = {part: [place for place, of in enumerate(given) if (of or "train") == part] for part in PARTS}
    missing = [part for part in ("test", "validation") if not parts[part]]
    for key in ("validation", "test"):
        if getattr(data, key) is not None and key not in missing:
            raise SearcherError(f"data.{key}: {where} has a {key} split of its own")
    if not parts["train"]:
        raise SearcherError(f"{where}: no images to train on")
    if "validation" not in missing:  # before a test split is drawn of what is there
        _check(parts, labels, classes, where)
    seed = data.seed or 0
    generator = np.random.default_rng(seed)
    _draw(parts, missing, labels, classes, data, where, generator)
    _check(parts, labels, classes, where)
    ordered = {
        part: [places[i] for i in generator.permutation(len(places))] for part, places in parts.items()
    }
    shares = " and ".join(f"{share_of(data, part):.0%} {part}" for part in missing)
    return ordered, f"{shares} drawn class by class, seed {seed}" if missing else "as given"


def _check(
    parts: Mapping[str, Sequence[int]], labels: Sequence[int], classes: Sequence[str], where: str
) -> None:
    counts = {part: Counter(labels[place] for place in places) for part, places in parts.items()}
    check_classes(counts, classes, where)


def share_of(data: Data, part: str) -> float:
    """The share of a split that is drawn."""
    given: float | None = getattr(data, part)
    return SHARE if given is None else given


def _draw(
    parts: dict[str, list[int]],
    missing: Sequence[str],
    labels: Sequence[int],
    classes: Sequence[str],
    data: Data,
    where: str,
    generator: np.random.Generator,
) -> None:
    """Move images of each class from the training split to the missing ones."""
    by_class: dict[int, list[int]] = {}
    for place in parts["train"]:
        by_class.setdefault(labels[place], []).append(place)
    parts["train"] = []
    for label, places in sorted(by_class.items()):
        if len(places) <= len(missing):
            raise SearcherError(
                f"{where}: class {classes[label]!r} has {several(len(places), 'image')}, and needs at least "
                f"{len(missing) + 1}: one to train on and one each for {' and '.join(missing)}"
            )
        rest = [places[i] for i in generator.permutation(len(places))]
        most = len(places) - len(missing)
        for part in missing:
            count = min(most, max(1, round(share_of(data, part) * len(places))))
            parts[part] += rest[:count]
            rest, most = rest[count:], most - count + 1
        parts["train"] += rest


def each(names: Sequence[str], counts: Mapping[int, int]) -> str:
    """The first classes with their counts, for a reader."""
    told = [f"{name} {counts.get(number, 0):,}" for number, name in enumerate(names[:SHOWN_CLASSES])]
    more = [f"and {len(names) - SHOWN_CLASSES} more"] if len(names) > SHOWN_CLASSES else []
    return ", ".join(told + more)


def check_classes(counts: Mapping[str, Mapping[int, int]], classes: Sequence[str], where: str) -> None:
    """Refuse classes that are not both trained on and validated.

    Raises:
        SearcherError: There is such a class.
    """
    for label, name in enumerate(classes):
        there = [part for part in reversed(PARTS) if counts[part].get(label)]
        lacking = [part for part in ("train", "validation") if part not in there]
        if lacking:
            alone = f"is in {' and '.join(there)} alone" if there else "has no image that can be used"
            raise SearcherError(f"{where}: class {name!r} {alone}: it is needed in train and validation")


def digest_of(image: np.ndarray) -> bytes:
    """A digest of an image's pixels (C, H, W), 16 bytes; empty where they are all of one colour."""
    if bool((image == image[:, :1, :1]).all()):
        return b""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
