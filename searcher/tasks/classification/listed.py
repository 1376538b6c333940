"""Classes of images in files: listed with their classes, and prepared into a task."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.tasks.base import Split
from searcher.tasks.classification.task import Classification
from searcher.tasks.entries import Entry
from searcher.tasks.images import Look, look, spread
from searcher.tasks.plan import Plan, Source
from searcher.tasks.prepared import Prepared, prepare
from searcher.tasks.splits import PARTS, check_classes, divided, each
from searcher.wording import several

LARGEST_OWN = 64
"""Pixels of a side up to which images keep their own size, where they all have one."""

LOOKED_AT = 64
"""Files whose headers say what size and colours the images have."""


class Item(NamedTuple):
    """An image's file, its class and, where it is given, its split."""

    path: Path
    name: str
    split: str = ""


@dataclass(frozen=True)
class Listing:
    """Images of classes as they lie on the disk.

    Attributes:
        where: The data, for messages.
        layout: What it was found to be, in words.
        items: The images.
        dropped: Counts of files that were left out, by reason.
    """

    where: str
    layout: str
    items: Sequence[Item]
    dropped: Mapping[str, int] = field(default_factory=dict)


def entry(name: str, listing: Listing, data: Data) -> Entry:
    """The task of a listing; nothing but a few headers is read until it is loaded.

    Raises:
        SearcherError: No image can be read, or the classes that are given are not those of the data.
    """
    names = classes_of(sorted({item.name for item in listing.items}), data, listing.where)
    seen = [found for path in spread([i.path for i in listing.items], LOOKED_AT) if (found := look(path))]
    if not seen:
        raise SearcherError(f"{listing.where}: no image can be read, e.g. {listing.items[0].path}")
    channels = data.channels or (1 if all(one.grey for one in seen) else 3)
    sides, why = _sides(seen, data)
    check_figures(data, channels)
    image = (channels, *sides)
    return Entry(lambda: _load(name, listing, data, names, image, why), image, len(names))


def classes_of(found: Sequence[str], data: Data, where: str) -> tuple[str, ...]:
    """The classes' names in their order.

    Raises:
        SearcherError: There are fewer than two, or those that are given are others than those that are there.
    """
    if data.classes:
        for kind, odd in (
            ("no images of", set(data.classes) - set(found)),
            ("not among them", set(found) - set(data.classes)),
        ):
            if odd:
                raise SearcherError(f"data.classes: {where}: {kind} {', '.join(sorted(odd)[:5])}")
        return data.classes
    if len(found) < 2:
        raise SearcherError(f"{where}: one class alone ({found[0]}), there is nothing to tell apart")
    return tuple(found)


def check_figures(data: Data, channels: int) -> None:
    """Refuse a mean or a deviation of another number of channels.

    Raises:
        SearcherError: There is one.
    """
    for key in ("mean", "std"):
        given = getattr(data, key)
        if given and len(given) != channels:
            raise SearcherError(f"data.{key}: {several(len(given), 'number')} for {channels} channels")


def _sides(seen: Sequence[Look], data: Data) -> tuple[tuple[int, int], str]:
    """Height and width of the images, and why they are those."""
    if data.sides:
        return data.sides, "as data.size says"
    sizes = {one.sides for one in seen}
    first = seen[0].sides
    if len(sizes) == 1 and max(first) <= LARGEST_OWN:
        return first, "their own"
    own = "of several sizes" if len(sizes) > 1 else f"of {first[0]}×{first[1]}"
    return (LARGEST_OWN, LARGEST_OWN), f"the files are {own}; data.size sets another one"


def _load(
    name: str, listing: Listing, data: Data, names: tuple[str, ...], image: tuple[int, int, int], why: str
) -> Classification:
    numbers = {one: number for number, one in enumerate(names)}
    whole = [item for item in listing.items if item.path.stat().st_size]
    dropped = Counter({**listing.dropped, "empty file": len(listing.items) - len(whole)})
    labels = [numbers[item.name] for item in whole]
    if gone := set(names) - {item.name for item in whole}:
        raise SearcherError(f"{listing.where}: class {min(gone)!r} has no image that can be used")
    places, drawn = divided(labels, [item.split for item in whole], names, data, listing.where)
    splits = {part: [Source(whole[i].path, labels[i]) for i in places[part]] for part in PARTS}
    made = prepare(Plan(name, splits, image[0], image[1:]))
    dropped.update(made.dropped)
    counts = {part: _counts(made.labels[part]) for part in PARTS}
    left = "; ".join(f"{count} × {reason}" for reason, count in dropped.items() if count)
    check_classes(counts, names, f"{listing.where} ({left})" if left else listing.where)
    lines = (listing.layout, *told(made, names, drawn, f"{image[1]}×{image[2]}, {why}"))
    return task(name, made, names, data, lines, {k: n for k, n in dropped.items() if n})


def task(
    name: str,
    made: Prepared,
    names: tuple[str, ...],
    data: Data,
    found: tuple[str, ...],
    dropped: Mapping[str, int],
) -> Classification:
    """The task of prepared images."""
    train, validation, test = (Split(made.images[part], made.labels[part]) for part in reversed(PARTS))
    shift, flip = data.augment.shift, data.augment.flip
    sides = train.images.shape[2:]
    mean, std = data.mean or made.mean, data.std or made.std
    shift = min(sides) // 8 if shift is None else shift
    return Classification(
        name=name,
        classes=len(names),
        train=train,
        validation=validation,
        test=test,
        mean=mean,
        std=std,
        scale=255.0,
        shift=shift,
        flip=flip is not False,
        names=names,
        left_out=dropped,
        found=(*found, f"mean {_words(mean)}, std {_words(std)} of the full scale"),
        conditions=json.dumps([names, mean, std, shift, flip is not False]),
    )


def told(made: Prepared, names: Sequence[str], drawn: str, size: str) -> tuple[str, ...]:
    """What the images are, a line each: how many of which class, in which split, of what size."""
    counts = Counter[int]()
    for labels in made.labels.values():
        counts.update(_counts(labels))
    parts = ", ".join(f"{len(made.labels[part]):,} {part}" for part in reversed(PARTS))
    return (
        f"{counts.total():,} images of {len(names)} classes: {each(names, counts)}",
        f"splits: {parts}; {drawn}",
        f"size {size}, {several(made.images['train'].shape[1], 'channel')}",
    )


def _counts(labels: Tensor) -> dict[int, int]:
    return {label: count for label, count in enumerate(labels.bincount().tolist()) if count}


def _words(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:.3g}" for number in numbers)
