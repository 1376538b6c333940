"""Images prepared once: read, brought to one size, and kept in memory-mapped files of the user's cache."""

import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from searcher.errors import SearcherError
from searcher.files import in_one_step, locked
from searcher.tasks.detection.pictures import square
from searcher.tasks.images import Unusable, pixels
from searcher.tasks.locations import cache
from searcher.tasks.normalisation import measured
from searcher.tasks.plan import Plan, Source
from searcher.tasks.splits import PARTS, TWIN, digest_of

IMAGES, LABELS, ROWS, PROGRESS, ABOUT = (
    "images.npy",
    "labels.npy",
    "rows.bin",
    "progress.json",
    "prepared.json",
)
PART_IMAGES, PART_BYTES = 1024, 64 * 2**20
"""Images and bytes that are written, and made safe, at a time."""

_SAID_EVERY = 5.0
_ROW = np.dtype([("source", "<i8"), ("digest", "V16")])
_BROKEN = "image that cannot be read"


@dataclass(frozen=True)
class Prepared:
    """Images on a memory map, of which is read what is asked for.

    Attributes:
        images: By split, (N, C, H, W) uint8, not to be written to.
        labels: By split, (N,) int64.
        dropped: Counts of images that were left out, or changed, by reason.
        mean: Of the training images, a channel, as a share of the full scale.
        std: The same of the standard deviation.
    """

    images: Mapping[str, Tensor]
    labels: Mapping[str, Tensor]
    dropped: Mapping[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def prepare(plan: Plan) -> Prepared:
    """The images of a plan; those that are not prepared yet are, from where a killed process was.

    Raises:
        SearcherError: The user's cache cannot be written.
    """
    folder = cache() / "prepared" / plan.digest
    found = _opened(folder)
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / "lock"):
                found = _opened(folder) or _made(plan, folder)
        except OSError as error:
            raise SearcherError(f"{plan.name} cannot be prepared in {folder}: {error}") from error
    return found


def _opened(folder: Path) -> Prepared | None:
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        every = np.load(folder / IMAGES, mmap_mode="r")
        labels = np.load(folder / LABELS)
    except (OSError, ValueError):
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        images = torch.from_numpy(every)
    places, start = {}, 0
    for part in PARTS:
        places[part] = slice(start, start + about["rows"][part])
        start = places[part].stop
    return Prepared(
        {part: images[place] for part, place in places.items()},
        {part: torch.from_numpy(labels[place].copy()) for part, place in places.items()},
        about["dropped"],
        tuple(about["mean"]),
        tuple(about["std"]),
    )


def _made(plan: Plan, folder: Path) -> Prepared:
    _Writer(plan, folder).write()
    made = _opened(folder)
    if made is None:
        raise SearcherError(f"{plan.name} was prepared in {folder}, and cannot be read there")
    return made


@dataclass
class _State:
    """How far a preparation is: files done, rows written by split, what was left out."""

    done: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


class _Writer:
    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self._sources = [(part, source) for part in PARTS for source in plan.splits[part]]
        self._bytes = int(np.prod(plan.image))
        self._taken: dict[bytes, str] = {}
        self._said = self._begun = time.monotonic()

    def write(self) -> None:
        state, head = self._state()
        with (self._folder / IMAGES).open("r+b") as images, (self._folder / ROWS).open("r+b") as rows:
            self._again(rows, state)
            images.seek(head + sum(state.rows.values()) * self._bytes)
            for part in self._read(state.done):
                for source, read in part:
                    self._add(source, read, state, images.write, rows.write)
                for file in (images, rows):
                    file.flush()
                    os.fsync(file.fileno())
                self._save(PROGRESS, vars(state))
                self._say(state.done)
        self._finish(state, head)

    def _state(self) -> tuple[_State, int]:
        """Where a killed process was, or an empty map; and the bytes before the first image."""
        try:
            told = json.loads((self._folder / PROGRESS).read_text(encoding="utf-8"))
            state = _State(told["done"], Counter(told["rows"]), Counter(told["dropped"]))
            written = (self._folder / ROWS).stat().st_size // _ROW.itemsize
            if written < sum(state.rows.values()):
                raise ValueError("rows are missing")
            images = np.lib.format.open_memmap(self._folder / IMAGES, "r")
        except (OSError, ValueError, KeyError):
            state, shape = _State(), (len(self._sources), *self._plan.image)
            images = np.lib.format.open_memmap(self._folder / IMAGES, "w+", np.uint8, shape)
            (self._folder / ROWS).write_bytes(b"")
        return state, images.offset

    def _again(self, rows: Any, state: _State) -> None:
        """Go on behind the rows that are safe, whose digests are known again."""
        rows.truncate(sum(state.rows.values()) * _ROW.itemsize)
        for row in np.frombuffer(rows.read(), _ROW):
            self._taken.setdefault(row["digest"].tobytes(), self._sources[row["source"]][0])

    def _read(self, done: int) -> Iterator[list[tuple[int, np.ndarray | str | tuple[np.ndarray, list[str]]]]]:
        """The images from a place on, in parts, each with its place; the reason instead where it is none."""
        size = max(1, min(PART_IMAGES, PART_BYTES // self._bytes))
        places = iter(range(done, len(self._sources)))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while part := list(islice(places, size)):
                sources = [self._sources[place][1] for place in part]
                yield list(zip(part, pool.map(self._pixels, sources), strict=True))

    def _pixels(self, source: Source) -> tuple[np.ndarray, list[str]] | str:
        channels, sides = self._plan.channels, self._plan.sides
        try:
            if source.annotated:
                return square(source.path, sides[0], source.annotated)
            image, remarks = pixels(source.path, channels, sides)
            return self._beside(source, image), remarks
        except Unusable as reason:
            return str(reason)
        except Exception:  # Pillow raises all kinds of them at damaged files
            return _BROKEN

    def _beside(self, source: Source, image: np.ndarray) -> np.ndarray:
        """An image with what lies beside it."""
        if self._plan.layer is None or source.beside is None:
            return image
        layer = self._plan.layer.read(source.beside, source.path, self._plan.sides)
        return np.concatenate([image, layer[None]])

    def _add(self, place: int, read: Any, state: _State, *to: Callable[[bytes], Any]) -> None:
        state.done = place + 1
        if isinstance(read, str):
            state.dropped[read] += 1
            return
        image, remarks = read
        part, digest = self._sources[place][0], digest_of(image[: self._plan.channels])
        if digest and self._taken.setdefault(digest, part) != part:
            state.dropped[TWIN] += 1
            return
        state.dropped.update(remarks)
        state.rows[part] += 1
        to_images, to_rows = to
        to_images(image.tobytes())
        to_rows(np.array((place, digest.ljust(16, b"\0")), _ROW).tobytes())

    def _finish(self, state: _State, head: int) -> None:
        rows = np.fromfile(self._folder / ROWS, _ROW)
        every = np.array([source.label for _, source in self._sources], dtype=np.int64)
        with in_one_step(self._folder / LABELS) as part, part.open("wb") as file:
            np.save(file, every[rows["source"]])
        counts = {part: state.rows[part] for part in PARTS}
        first = counts["test"] + counts["validation"]
        mean, std = self._figures(head + first * self._bytes, counts["train"])
        self._save(ABOUT, {"rows": counts, "dropped": state.dropped, "mean": mean, "std": std})
        for name in (PROGRESS, ROWS):
            (self._folder / name).unlink()

    def _figures(self, offset: int, count: int) -> tuple[list[float], list[float]]:
        """Mean and deviation of the training images, read part by part."""
        with (self._folder / IMAGES).open("rb") as file:
            file.seek(offset)
            size = max(1, min(PART_IMAGES, PART_BYTES // self._bytes))
            parts = (min(size, count - start) for start in range(0, count, size))
            read = (np.frombuffer(file.read(n * self._bytes), np.uint8) for n in parts)
            return measured(part.reshape(-1, *self._plan.image) for part in read)

    def _save(self, name: str, content: Mapping[str, Any]) -> None:
        with in_one_step(self._folder / name) as part, part.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())

    def _say(self, done: int) -> None:
        now = time.monotonic()
        if now - self._said >= _SAID_EVERY:
            self._said = now
            text = f"preparing {self._plan.name}: {done:,} of {len(self._sources):,} images"
            print(text, file=sys.stderr, flush=True)
