"""Detection data in folders: pedestrians of Penn-Fudan, the first 128 images of COCO, and a user's own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from searcher.config.data import Data
from searcher.errors import SearcherError, unknown
from searcher.tasks.detection import parts as by_file
from searcher.tasks.detection.annotations import INSTANCES, read, scenes
from searcher.tasks.detection.cleaning import key
from searcher.tasks.detection.coco_eval import Truth
from searcher.tasks.detection.task import Detection, Scenes
from searcher.tasks.locations import cache
from searcher.tasks.locations import find as locate
from searcher.tasks.splits import TWIN, digest_of, share_of

SPLIT = "split.json"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def detection(folder: Path, name: str, side: int) -> Detection:
    """The images of a folder, stretched to squares of so many pixels, with their boxes.

    With `split.json`, lists of image ids under `train`, `validation` (or `val`) and `test`, the splits are
    those; so they are with `annotations/instances_*.json`, a file a split. A missing one of the last two is
    drawn from the training split, always alike. With neither all three are drawn. An image is in one
    split alone: one that is in several by two ids, or by the same pixels under two names, stays in the last
    of them.

    Raises:
        SearcherError: The annotations cannot be read, or a split would be empty.
    """
    truth = read(folder)
    parts = splits_of(folder, truth, Data())
    splits: list[Scenes] = []
    for part, ids in parts.items():
        if not ids:
            raise SearcherError(f"{folder}: no images for {part}")
        found, dropped = scenes(folder, truth, ids, side)
        for reason, count in dropped.items():
            _count(truth, reason, count)
        splits.append(found)
    splits = _apart(splits, truth)
    most = max(split.labels.shape[1] for split in splits)
    return of_splits(name, [_padded(split, most) for split in splits], truth)


def of_splits(name: str, splits: Sequence[Scenes], truth: Truth) -> Detection:
    """The task of training, validation and test images, with the usual augmentation."""
    train, validation, test = splits
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


def splits_of(folder: Path, truth: Truth, data: Data) -> dict[str, list[int]]:
    """The numbers of the images of each split, given or drawn.

    Raises:
        SearcherError: What is given is not in this form, or is drawn as well.
    """
    known = [image["id"] for image in truth.instances["images"]]
    parts: dict[str, list[int]] = {"train": known, "validation": [], "test": []}
    if (folder / SPLIT).is_file():
        parts = _once(_given(folder / SPLIT, truth), truth)
    elif several := _by_file(folder, truth):
        parts = several
    generator = np.random.default_rng(data.seed or 0)
    order = [parts["train"][i] for i in generator.permutation(len(parts["train"]))]
    counts = {part: round(share_of(data, part) * len(order)) for part in ("test", "validation")}
    for part, count in counts.items():
        if not parts[part]:
            parts[part], order = sorted(order[:count]), order[count:]
        elif getattr(data, part) is not None:
            raise SearcherError(f"data.{part}: {folder} has a {part} split of its own")
    return parts | {"train": sorted(order)}


def _by_file(folder: Path, truth: Truth) -> dict[str, list[int]] | None:
    """The splits of annotations in several files; None where they are in one."""
    found = None if (folder / INSTANCES).is_file() else by_file.splits(folder, list(truth.numbers))
    if found is None:
        return None
    return {part: [truth.numbers[text] for text in ids] for part, ids in found.items()}


def drawn_words(folder: Path, data: Data) -> str:
    """How a folder's splits come about, for a reader."""
    truth = read(folder)
    given: Mapping[str, Sequence[object]] = {}
    if (folder / SPLIT).is_file():
        given = _texts(folder / SPLIT)
    elif several := _by_file(folder, truth):
        given = several
    missing = [part for part in ("test", "validation") if not given.get(part)]
    shares = " and ".join(f"{share_of(data, part):.0%} {part}" for part in missing)
    return f"{shares} drawn, seed {data.seed or 0}" if missing else "as given"


def _given(path: Path, truth: Truth) -> dict[str, list[int]]:
    """The splits of a file, as the numbers of their images; a file of two ids may be in it by both."""
    texts = _texts(path)
    every = [text for part in texts.values() for text in part]
    if len(set(every)) < len(every):
        raise SearcherError(f"{path}: an image is in two splits, or twice in one")
    strangers = sorted(set(every) - set(truth.numbers))
    if strangers:
        raise SearcherError(f"{path}: {len(strangers)} images are not annotated, e.g. {strangers[0]}")
    return {part: [truth.numbers[text] for text in ids] for part, ids in texts.items()}


def _texts(path: Path) -> dict[str, list[str]]:
    """The image ids of each split, as text.

    Raises:
        SearcherError: The file has not this form, or a split of another name.
    """
    try:
        given = json.loads(path.read_text(encoding="utf-8-sig"))
        lists = {part: ids for part, ids in given.items() if isinstance(ids, list)}
        texts = {
            "train": [_text(i) for i in given["train"]],
            "validation": [_text(i) for i in given.get("validation", given.get("val", []))],
            "test": [_text(i) for i in given.get("test", [])],
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SearcherError(f"{path}: expected lists of image ids: {error}") from error
    for part in lists:
        if part not in (*texts, "val"):
            raise unknown(f"split in {path}", part, texts)
    return texts


def _text(number: object) -> str:
    text = key(number)
    if text is None:
        raise ValueError(f"{number!r} is no id")
    return text


def _once(parts: dict[str, list[int]], truth: Truth) -> dict[str, list[int]]:
    """Each image in one split: where it is in several, in the test split rather than in validation."""
    taken: set[int] = set()
    kept: dict[str, list[int]] = {}
    for part in ("test", "validation", "train"):
        own = [number for number in dict.fromkeys(parts[part]) if number not in taken]
        _count(truth, "image that another split has under another id", len(set(parts[part]) & taken))
        taken.update(own)
        kept[part] = own
    return {part: kept[part] for part in parts}


def _apart(splits: list[Scenes], truth: Truth) -> list[Scenes]:
    """The splits without images whose pixels a later one has as well.

    Where that would leave a split empty, they stay as they are. An image of one colour is like any other one.
    """
    taken: set[bytes] = set()
    kept = []
    for split in reversed(splits):
        own = [digest_of(image.numpy()) for image in split.images]
        places = [place for place, digest in enumerate(own) if digest not in taken]
        kept.append(split.only(torch.tensor(places, dtype=torch.long)))
        taken.update(digest for digest in own if digest)
    kept.reverse()
    twins = sum(map(len, splits)) - sum(map(len, kept))
    if not all(map(len, kept)):
        _count(truth, "image whose pixels another split has too; they were left", twins)
        return splits
    _count(truth, TWIN, twins)
    return kept


def _count(truth: Truth, reason: str, count: int) -> None:
    if count:
        truth.dropped[reason] = truth.dropped.get(reason, 0) + count


def classes(name: str) -> int | None:
    """The number of classes of the data of that name; None where it is not on this machine.

    Raises:
        SearcherError: Its annotations cannot be read.
    """
    folder = find(name)
    return len(read(folder).categories) if folder else None


def find(name: str) -> Path | None:
    """The folder of that name with annotations; None where it is not on this machine."""
    return locate(name, INSTANCES) or locate(name, "Annotations")


def load(name: str, side: int) -> Detection:
    """The data of that name from $SEARCHER_DATA, ./data or the user's cache.

    Raises:
        SearcherError: It is not there, or cannot be read.
    """
    folder = find(name)
    if folder is None:
        where = f"$SEARCHER_DATA, ./data or {cache()}"
        raise SearcherError(f"no folder {name} with {INSTANCES} or Annotations/ in {where}")
    return detection(folder, name, side)
