"""A user's own detection data, by its path."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.tasks.detection import folders
from searcher.tasks.detection.annotations import ABSENT, file, labels, read
from searcher.tasks.detection.task import Detection, Scenes
from searcher.tasks.entries import Entry
from searcher.tasks.plan import Plan, Source
from searcher.tasks.prepared import prepare
from searcher.tasks.splits import each
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
    truth = read(path)
    files = {one["id"]: file(path, one["file_name"]) for one in truth.instances["images"]}
    splits = {
        part: [Source(there, n, truth.sizes[n]) for n in numbers if (there := files[n])]
        for part, numbers in folders.splits_of(path, truth, data).items()
    }
    made = prepare(Plan(name, splits, 3, (side, side)))
    left_out = Counter({ABSENT: sum(there is None for there in files.values())}) + Counter(made.dropped)
    for part in splits:
        if not len(made.labels[part]):
            said = "; ".join(f"{count} × {reason}" for reason, count in left_out.items())
            raise SearcherError(f"{path}: no images for {part}" + (f" ({said})" if said else ""))
    for reason, count in left_out.items():
        truth.dropped[reason] = truth.dropped.get(reason, 0) + count
    tables = labels(truth, torch.cat([made.labels[part] for part in splits]).tolist())
    by_split = torch.split(tables, [len(made.labels[part]) for part in splits])
    scenes = [
        Scenes(made.images[part], table, made.labels[part], truth)
        for part, table in zip(splits, by_split, strict=True)
    ]
    task = folders.of_splits(name, scenes, truth)
    mean, std = data.mean or made.mean, data.std or made.std
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
    sizes = ", ".join(f"{len(split):,} {part}" for part, split in parts.items())
    how = folders.drawn_words(path, data)
    side, kinds = task.image[1], several(len(task.names), "class")
    return (
        f"{sum(map(len, parts.values())):,} images, boxes of {kinds}: {each(task.names, boxes)}",
        f"splits: {sizes}; {how}",
        f"stretched to {side}×{side}, 3 channels",
    )


def _words(numbers: Sequence[float]) -> str:
    return " ".join(f"{number:.3g}" for number in numbers)
