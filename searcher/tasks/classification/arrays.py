"""Images and labels as arrays of an ``.npz`` file."""

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from searcher.config.data import Data
from searcher.errors import SearcherError
from searcher.tasks.classification.listed import check_figures, classes_of, task, told
from searcher.tasks.classification.task import Classification
from searcher.tasks.entries import Entry
from searcher.tasks.normalisation import measured
from searcher.tasks.prepared import Prepared
from searcher.tasks.splits import PARTS, TWIN, check_classes, digest_of, divided

KEYS = {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val"), "test": ("x_test", "y_test")}
WHOLE = ("images", "labels")
_EXPECTED = f"expected {' and '.join(WHOLE)}, or x_train, y_train and so on for val and test"


class Head(NamedTuple):
    """The shape and the type of an array, which is not read."""

    shape: tuple[int, ...]
    dtype: np.dtype


def entry(path: Path, name: str, data: Data) -> Entry:
    """The task of an ``.npz`` file; its images are not read until it is loaded.

    Raises:
        SearcherError: It has other arrays than images and labels, of other shapes, types or lengths.
    """
    heads = _heads(path)
    pairs = _pairs(path, heads)
    shapes = set()
    for split, (images, labels) in pairs.items():
        _check(path, images, labels, heads)
        shapes.add(_image(heads[images].shape))
        if not heads[images].shape[0]:
            raise SearcherError(f"{path}: {images} has no images for {split or 'any split'}")
    if len(shapes) > 1:
        raise SearcherError(f"{path}: images of several sizes: {sorted(shapes)}")
    image = shapes.pop()
    check_figures(data, image[0])
    with np.load(path, allow_pickle=False) as arrays:
        each = {split: _flat(arrays[key]) for split, (_, key) in pairs.items()}
    values = np.unique(np.concatenate(list(each.values())))
    names = classes_of([str(value) for value in values], data, str(path))
    numbers = np.array([names.index(str(value)) for value in values])
    known = {split: numbers[np.searchsorted(values, own)] for split, own in each.items()}
    return Entry(lambda: _load(path, name, data, names, pairs, known), image, len(names))


def _heads(path: Path) -> dict[str, Head]:
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for member in archive.namelist():
                with archive.open(member) as file:
                    version = np.lib.format.read_magic(file)
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }[version]
                    shape, _, dtype = read(file)
                found[member.removesuffix(".npy")] = Head(shape, dtype)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SearcherError(f"{path}: no .npz file of arrays that can be read: {error}") from error
    return found


def _pairs(path: Path, heads: Mapping[str, Head]) -> dict[str, tuple[str, str]]:
    """The arrays of images and of labels of each split; under no split's name where they are one."""
    split = {part: keys for part, keys in KEYS.items() if any(key in heads for key in keys)}
    whole = any(key in heads for key in WHOLE)
    if whole and split:
        raise SearcherError(f"{path} mixes layouts: {', '.join(sorted(heads))}; {_EXPECTED}")
    pairs = split or {"": WHOLE}
    missing = [key for keys in pairs.values() for key in keys if key not in heads]
    if missing:
        has = ", ".join(sorted(heads)) or "nothing"
        raise SearcherError(f"{path}: no array {missing[0]}; it has {has}; {_EXPECTED}")
    return pairs


def _check(path: Path, images: str, labels: str, heads: Mapping[str, Head]) -> None:
    for key in (images, labels):
        if heads[key].dtype.hasobject:
            raise SearcherError(f"{path}: {key} is pickled Python objects, which are not read")
    shape, dtype = heads[images]
    if dtype != np.uint8 and dtype.kind != "f":
        raise SearcherError(f"{path}: {images} is of {dtype}, expected uint8, or floating point in 0 to 1")
    if _image(shape) == ():
        raise SearcherError(f"{path}: {images} has the shape {shape}, expected N×H×W×C or N×C×H×W, C 1 or 3")
    shape, dtype = heads[labels]
    if dtype.kind not in "iuU" or np.prod(shape[1:]) != 1:
        raise SearcherError(
            f"{path}: {labels}: {dtype} of the shape {shape}, expected a number or name an image"
        )
    if shape[0] != heads[images].shape[0]:
        raise SearcherError(f"{path}: {heads[images].shape[0]} {images}, {shape[0]} {labels}")


def _image(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes of an image, channels first, of an array of any layout; empty where it is none."""
    if len(shape) == 3:
        return (1, *shape[1:])
    if len(shape) == 4 and shape[3] in (1, 3):
        return (shape[3], *shape[1:3])
    return tuple(shape[1:]) if len(shape) == 4 and shape[1] in (1, 3) else ()


def _flat(labels: np.ndarray) -> np.ndarray:
    return labels.reshape(len(labels))


def _load(
    path: Path,
    name: str,
    data: Data,
    names: tuple[str, ...],
    pairs: Mapping[str, tuple[str, str]],
    known: Mapping[str, np.ndarray],
) -> Classification:
    with np.load(path, allow_pickle=False) as arrays:
        images = np.concatenate([_bytes(arrays[key], path, key) for key, _ in pairs.values()])
    labels = np.concatenate([known[split] for split in pairs])
    given = [split for split in pairs for _ in known[split]]
    places, drawn = divided(labels.tolist(), given, names, data, str(path))
    kept, dropped = _apart(places, images)
    counts = {part: Counter(labels[kept[part]].tolist()) for part in PARTS}
    check_classes(counts, names, str(path))
    mean, std = measured(iter([images[kept["train"]]]))
    made = Prepared(
        {part: torch.from_numpy(images[own]) for part, own in kept.items()},
        {part: torch.from_numpy(labels[own].astype(np.int64)) for part, own in kept.items()},
        dropped,
        tuple(mean),
        tuple(std),
    )
    layout = f"arrays {', '.join(key for keys in pairs.values() for key in keys)} in {path}"
    size = f"{images.shape[2]}×{images.shape[3]}, their own"
    return task(name, made, names, data, (layout, *told(made, names, drawn, size)), dropped)


def _bytes(images: np.ndarray, path: Path, key: str) -> np.ndarray:
    """Images (N, C, H, W) uint8.

    Raises:
        SearcherError: A value is no share of the full scale.
    """
    if images.dtype != np.uint8:
        if not bool((images >= 0).all() and (images <= 1).all()):  # which NaN is not either
            raise SearcherError(
                f"{path}: {key}: values from {images.min():g} to {images.max():g}, expected 0 to 1 (or uint8)"
            )
        images = (images * 255).round().astype(np.uint8)
    if images.ndim == 3:
        return images[:, None]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if images.shape[3] in (1, 3) else images


def _apart(
    places: Mapping[str, Sequence[int]], images: np.ndarray
) -> tuple[dict[str, list[int]], dict[str, int]]:
    """The places of each split without images that another one has, and how many those are."""
    taken: dict[bytes, str] = {}
    kept: dict[str, list[int]] = {}
    twins = 0
    for part in PARTS:
        digests = [(place, digest_of(images[place])) for place in places[part]]
        kept[part] = [place for place, d in digests if not d or taken.setdefault(d, part) == part]
        twins += len(digests) - len(kept[part])
    return kept, {TWIN: twins} if twins else {}
