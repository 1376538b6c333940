"""A user's own detection data, by its path."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from searcher.config.data import Data
from searcher.tasks.detection import folders
from searcher.tasks.detection.annotations import read
from searcher.tasks.detection.task import Detection
from searcher.tasks.entries import Entry
from searcher.tasks.prepared import figures
from searcher.wording import several

SIDE = 320
"""Pixels of a side where none are given."""


def entry(path: Path, name: str, layout: str, side: int | None, data: Data) -> Entry:
    """The task of a folder of annotated images; the images are not read until it is loaded.

    Raises:
        SearcherError: The annotations cannot be read.
    """
    wanted = side or SIDE
    count = len(read(path).categories)
    return Entry(lambda: _load(path, name, layout, wanted, data), (3, wanted, wanted), count, Detection)


def _load(path: Path, name: str, layout: str, side: int, data: Data) -> Detection:
    task = folders.detection(path, name, side, data)
    measured = figures(iter(part.numpy() for part in torch.split(task.train.images, 256)))
    mean, std = data.mean or tuple(measured[0]), data.std or tuple(measured[1])
    given = data.augment
    flip = task.flip if given.flip is None else given.flip
    zoom = task.zoom if given.zoom is None else given.zoom
    light = task.light if given.light is None else given.light
    return replace(
        task,
        mean=mean,
        std=std,
        flip=flip,
        zoom=zoom,
        light=light,
        found=(layout, *_told(path, task, data), f"mean {_words(mean)}, std {_words(std)} of the full scale"),
        conditions=json.dumps([task.names, mean, std, flip, zoom, light]),
    )


def _told(path: Path, task: Detection, data: Data) -> tuple[str, ...]:
    """What the images are, a line each: boxes of which class, images in which split, their size."""
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    boxes: Counter[int] = Counter()
    for split in parts.values():
        classes = split.labels[..., 0]
        boxes.update(classes[classes >= 0].long().tolist())
    each = ", ".join(f"{name} {boxes[number]:,}" for number, name in enumerate(task.names))
    sizes = ", ".join(f"{len(split):,} {part}" for part, split in parts.items())
    how = folders.drawn_words(path, data)
    side = task.image[1]
    return (
        f"{several(sum(map(len, parts.values())), 'image')}, boxes of {len(task.names)} classes: {each}",
        f"splits: {sizes}; {how}",
        f"stretched to {side}×{side}, 3 channels",
    )


def _words(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:.3g}" for number in numbers)
