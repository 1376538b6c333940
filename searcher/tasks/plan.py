"""The images of a data set that are to be prepared."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from searcher.tasks.splits import PARTS

VERSION = 1
"""Of what is written: another one is prepared anew."""


class Source(NamedTuple):
    """An image's file and its label.

    An image that was annotated, at the width and height that are given, is stretched; others are cropped.
    `beside` is a file that has something to say of each of its pixels.
    """

    path: Path
    label: int
    annotated: tuple[int, int] | None = None
    beside: Path | None = None


class Layer(Protocol):
    """Reads what lies beside images, which becomes their last channel."""

    @property
    def key(self) -> str:
        """All that it depends on what is read of a file."""

    def read(self, path: Path, image: Path, sides: tuple[int, int]) -> np.ndarray:
        """What a file says of the pixels of an image in a size, (height, width) uint8.

        Raises:
            Unusable: It is not known.
        """


@dataclass(frozen=True)
class Plan:
    """The images that are to be prepared.

    Attributes:
        name: What the data is called while it is prepared.
        splits: By split, its images in their order.
        channels: Of an image.
        sides: Its height and width.
        layer: Reads what lies beside the images.
    """

    name: str
    splits: Mapping[str, Sequence[Source]]
    channels: int
    sides: tuple[int, int]
    layer: Layer | None = None

    @property
    def image(self) -> tuple[int, int, int]:
        """The sizes of an image with what lies beside it, channels first."""
        return (self.channels + (self.layer is not None), *self.sides)

    @cached_property
    def digest(self) -> str:
        """A name for what is made of these files, as they are now."""
        told = hashlib.sha256(json.dumps([VERSION, self.image]).encode())
        told.update(self.layer.key.encode() if self.layer else b"")
        for part in PARTS:
            told.update(part.encode())
            for path, label, annotated, beside in self.splits[part]:
                own: tuple[Any, ...] = (str(path.absolute()), label, annotated, *_state(path))
                own += (str(beside.absolute()), *_state(beside)) if beside else ()
                told.update(f"{own}\n".encode(errors="surrogateescape"))
        return told.hexdigest()[:32]


def _state(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns
