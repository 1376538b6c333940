"""Detection data in folders: pedestrians of Penn-Fudan, the first 128 images of COCO, and a user's own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from searcher.errors import SearcherError
from searcher.tasks import places
from searcher.tasks.average_precision import Truth
from searcher.tasks.coco import INSTANCES, read, scenes
from searcher.tasks.detection import Detection, Scenes

SPLIT = "split.json"
_SHARE = 0.15
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def detection(folder: Path, name: str, side: int) -> Detection:
    """The images of a folder, stretched to squares of so many pixels, with their boxes.

    With `split.json`, lists of image ids under `train`, `validation` (or `val`) and `test`, the splits are
    those; a missing one of the last two is taken from the training split, whose images are drawn from always
    the same seed. Without the file all three are drawn.

    Raises:
        SearcherError: The annotations cannot be read, or a split would be empty.
    """
    truth = read(folder)
    parts = _splits(folder, truth)
    splits: list[Scenes] = []
    for part, ids in parts.items():
        if not ids:
            raise SearcherError(f"{folder}: no images for {part}")
        found, dropped = scenes(folder, truth, ids, side)
        for reason, count in dropped.items():
            truth.dropped[reason] = truth.dropped.get(reason, 0) + count
        splits.append(found)
    most = max(split.labels.shape[1] for split in splits)
    train, validation, test = (_padded(split, most) for split in splits)
    return Detection(
        name=name,
        classes=len(truth.categories),
        train=train,
        validation=validation,
        test=test,
        mean=MEAN,
        std=STD,
        scale=255.0,
        names=truth.names,
        flip=True,
        zoom=0.25,
        light=0.3,
    )


def _padded(split: Scenes, most: int) -> Scenes:
    missing = most - split.labels.shape[1]
    empty = torch.cat([torch.full((len(split), missing, 1), -1.0), torch.zeros(len(split), missing, 4)], 2)
    return replace(split, labels=torch.cat([split.labels, empty], 1))


def _splits(folder: Path, truth: Truth) -> dict[str, list[int]]:
    known = [image["id"] for image in truth.instances["images"]]
    parts: dict[str, list[int]] = {"train": known, "validation": [], "test": []}
    if (folder / SPLIT).is_file():
        try:
            given = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
            parts = {
                "train": [int(i) for i in given["train"]],
                "validation": [int(i) for i in given.get("validation", given.get("val", []))],
                "test": [int(i) for i in given.get("test", [])],
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SearcherError(f"{folder / SPLIT}: expected lists of image ids: {error}") from error
        _check(folder, parts, set(known))
    order = [parts["train"][i] for i in np.random.default_rng(0).permutation(len(parts["train"]))]
    count = round(_SHARE * len(order))
    for part in ("test", "validation"):
        if not parts[part]:
            parts[part], order = sorted(order[:count]), order[count:]
    return parts | {"train": sorted(order)}


def _check(folder: Path, parts: dict[str, list[int]], known: set[int]) -> None:
    every = [number for ids in parts.values() for number in ids]
    if len(set(every)) < len(every):
        raise SearcherError(f"{folder / SPLIT}: an image is in two splits, or twice in one")
    unknown = sorted(set(every) - known)
    if unknown:
        raise SearcherError(f"{folder / SPLIT}: {len(unknown)} images are not annotated, e.g. {unknown[0]}")


def find(name: str) -> Path | None:
    """The folder of that name with annotations; None where it is not on this machine."""
    return places.find(name, INSTANCES) or places.find(name, "Annotations")


def load(name: str, side: int) -> Detection:
    """The data of that name from $SEARCHER_DATA, ./data or the user's cache.

    Raises:
        SearcherError: It is not there, or cannot be read.
    """
    folder = find(name)
    if folder is None:
        where = f"$SEARCHER_DATA, ./data or {places.cache()}"
        raise SearcherError(f"no folder {name} with {INSTANCES} or Annotations/ in {where}")
    return detection(folder, name, side)
