"""A user's own images with masks, by their path."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.tasks.base import Split
from searcher.tasks.classification.listed import check_figures
from searcher.tasks.entries import Entry
from searcher.tasks.images import Look, look, spread
from searcher.tasks.plan import Plan, Source
from searcher.tasks.prepared import Prepared, prepare
from searcher.tasks.segmentation.classes import class_map
from searcher.tasks.segmentation.listing import Listing, listing
from searcher.tasks.segmentation.masks import ClassMap
from searcher.tasks.segmentation.task import Segmentation
from searcher.tasks.splits import PARTS, divided, each

SIDES = (256, 256)
"""Height and width where the files have several and none are given."""

ZOOM = (0.5, 2.0)
"""The range of scales of Oršić et al. (2019)."""

LOOKED_AT = 64
"""Files whose headers say what size and colours the images have."""

_COUNTED_AT_A_TIME = 256


def entry(path: Path, name: str, data: Data) -> Entry:
    """The task of a folder; nothing but names and a few headers is read until it is loaded.

    Raises:
        SearcherError: The folder has no images with masks, or their classes are not known.
    """
    found = listing(path)
    classes = class_map(path, [item.mask for item in found.items], data)
    seen = [one for file in spread([i.image for i in found.items], LOOKED_AT) if (one := look(file))]
    if not seen:
        raise SearcherError(f"{path}: no image can be read, e.g. {found.items[0].image}")
    sides, why = _sides(seen, data)
    channels = data.channels or (1 if all(one.grey for one in seen) else 3)
    check_figures(data, channels)
    image = (channels, *sides)
    return Entry(
        lambda: _load(path, name, found, classes, data, image, why), image, len(classes.names), Segmentation
    )


def _sides(seen: Sequence[Look], data: Data) -> tuple[tuple[int, int], str]:
    if data.sides:
        return data.sides, "as it was asked for"
    sizes = {one.sides for one in seen}
    return (sizes.pop(), "their own") if len(sizes) == 1 else (SIDES, "the files are of several sizes")


def _load(
    path: Path,
    name: str,
    found: Listing,
    classes: ClassMap,
    data: Data,
    image: tuple[int, int, int],
    why: str,
) -> Segmentation:
    items = found.items
    places, drawn = divided([0] * len(items), [i.split for i in items], ["image"], data, str(path))
    splits = {part: [Source(items[i].image, 0, None, items[i].mask) for i in places[part]] for part in PARTS}
    made = prepare(Plan(name, splits, image[0], image[1:], classes))
    dropped = dict(+(found.dropped + Counter(made.dropped)))
    _check(path, made, dropped)
    parts = {part: _split(made, part) for part in PARTS}
    pixels, present = _pixels(parts["train"].labels, len(classes.names))
    weights = balanced(pixels, present) if data.balanced else ()
    mean, std = data.mean or made.mean[: image[0]], data.std or made.std[: image[0]]
    zoom, flip = data.augment.scale or ZOOM, data.augment.flip is not False
    return Segmentation(
        name=name,
        classes=len(classes.names),
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        mean=mean,
        std=std,
        scale=255.0,
        names=classes.names,
        flip=flip,
        zoom=zoom,
        weights=weights,
        left_out=dropped,
        found=(found.layout, *_told(parts, classes.names, pixels, drawn, f"{image[1]}×{image[2]}, {why}")),
        conditions=json.dumps([classes.names, mean, std, flip, zoom, weights]),
    )


def _check(path: Path, made: Prepared, dropped: Mapping[str, int]) -> None:
    for part in PARTS:
        if not len(made.labels[part]):
            said = "; ".join(f"{count} × {reason}" for reason, count in dropped.items())
            raise SearcherError(f"{path}: no images for {part}" + (f" ({said})" if said else ""))


def _split(made: Prepared, part: str) -> Split:
    return Split(made.images[part][:, :-1], made.images[part][:, -1])


def _pixels(labels: Tensor, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """By class its pixels, and all that have a class in the images that it is in, (classes,) each."""
    pixels, present = np.zeros(classes, dtype=np.int64), np.zeros(classes, dtype=np.int64)
    for part in torch.split(labels, _COUNTED_AT_A_TIME):
        for image in part:
            counts = np.bincount(image.numpy().ravel(), minlength=classes)[:classes]
            pixels += counts
            present += np.where(counts > 0, counts.sum(), 0)
    return pixels, present


def balanced(pixels: np.ndarray, present: np.ndarray) -> tuple[float, ...]:
    """Weights of classes by median frequency (Eigen & Fergus 2015); 0 of a class that is nowhere.

    Args:
        pixels: Of each class.
        present: All pixels of the images that it is in.
    """
    frequency = pixels / np.maximum(1, present)
    median = np.median(frequency[frequency > 0]) if (frequency > 0).any() else 1.0
    weights = np.where(frequency > 0, median / np.maximum(frequency, 1e-12), 0.0)
    return tuple(round(float(weight), 4) for weight in weights)


def _told(
    parts: Mapping[str, Split], names: Sequence[str], pixels: np.ndarray, drawn: str, size: str
) -> tuple[str, ...]:
    """What the images are, a line each: pixels of which class, images in which split, their size."""
    sizes = ", ".join(f"{len(parts[part]):,} {part}" for part in reversed(PARTS))
    counts = {number: int(count) for number, count in enumerate(pixels)}
    channels = parts["train"].images.shape[1]
    absent = [name for name, count in zip(names, pixels, strict=True) if not count]
    return (
        f"{sum(map(len, parts.values())):,} images, pixels of {len(names)} classes: {each(names, counts)}",
        *([f"in no image for training: {', '.join(absent[:10])}"] if absent else []),
        f"splits: {sizes}; {drawn.replace(' class by class', '')}",
        f"size {size}, {channels} {'channel' if channels == 1 else 'channels'}",
    )
