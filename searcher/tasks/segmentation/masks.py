"""Masks in files: the classes of an image's pixels, by values or by colours."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from searcher.tasks.images import Unusable, look
from searcher.tasks.segmentation.confusion import IGNORED

if TYPE_CHECKING:
    from PIL.Image import Image

_VALUES = 2**16
_UNKNOWN = -1

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class ClassMap:
    """The classes of masks.

    Attributes:
        names: Of the classes, in the order of a network's outputs.
        values: By a mask's value, the number of the class, or `IGNORED`.
        colours: The same by its colour, where masks are in colours.
    """

    names: tuple[str, ...]
    values: Mapping[int, int]
    colours: Mapping[Colour, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """All that it depends on what is read of a mask."""
        return json.dumps([sorted(self.values.items()), sorted(self.colours.items())])

    def read(self, path: Path, image: Path, sides: tuple[int, int]) -> np.ndarray:
        """The classes of the pixels of an image's middle, scaled as the image is, without mixing any.

        Args:
            path: The mask's file.
            image: The image's.
            sides: Height and width of what is wanted.

        Returns:
            (height, width) uint8.

        Raises:
            Unusable: The mask is damaged, of another size than the image, or has pixels of no class.
        """
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as opened:
                mask = opened.convert("RGB") if self.colours else _plain(opened)
                mask.load()
        except Unusable:
            raise
        except Exception as error:  # Pillow raises all kinds of them at damaged files
            raise Unusable("mask that cannot be read") from error
        seen = look(image)
        if seen and seen.sides != (mask.height, mask.width):
            raise Unusable("mask of another size than its image")
        labels = self._by_colour(np.asarray(mask)) if self.colours else self._by_value(np.asarray(mask))
        if labels.shape == sides:
            return labels
        height, width = sides
        fitted = ImageOps.fit(Image.fromarray(labels), (width, height), Image.Resampling.NEAREST)
        return np.asarray(fitted)

    def _by_value(self, mask: np.ndarray) -> np.ndarray:
        table = np.full(_VALUES, _UNKNOWN, dtype=np.int16)
        for value, label in self.values.items():
            table[value] = label
        labels = table[mask.clip(0, _VALUES - 1)]
        if (labels == _UNKNOWN).any():
            raise Unusable(f"mask with a value that is no class: {int(mask[labels == _UNKNOWN].min())}")
        return np.asarray(labels, dtype=np.uint8)

    def _by_colour(self, mask: np.ndarray) -> np.ndarray:
        found, places = np.unique(mask.reshape(-1, 3), axis=0, return_inverse=True)
        colours: list[Colour] = [(int(red), int(green), int(blue)) for red, green, blue in found]
        for colour in colours:
            if colour not in self.colours:
                raise Unusable(f"mask with a colour that is no class: {' '.join(map(str, colour))}")
        labels = np.array([self.colours[colour] for colour in colours], dtype=np.uint8)
        return labels[places.reshape(mask.shape[:2])]


def values_of(path: Path) -> list[int] | None:
    """The values of a mask, in order; None where it is damaged, or in colours."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            return [int(value) for value in np.unique(np.asarray(_plain(opened)))]
    except Exception:  # Pillow raises all kinds of them at damaged files
        return None


def _plain(mask: "Image") -> "Image":
    """A mask with one value a pixel; of a palette its number.

    Raises:
        Unusable: It is in colours.
    """
    if mask.mode in ("RGB", "RGBA", "LA", "CMYK", "YCbCr", "F"):
        raise Unusable("mask in colours, and no colours of classes are given")
    return mask


def mapped(names: list[str], values: list[int], colours: list[Colour], ignored: set[int]) -> ClassMap:
    """A map of classes; a name that comes twice is one class.

    Args:
        names: A name for each value.
        values: The values.
        colours: A colour for each, or none at all.
        ignored: Values that are of no class; 255 is one unless it has a name.
    """
    classes = list(dict.fromkeys(n for n, value in zip(names, values, strict=True) if value not in ignored))
    numbers = {
        value: IGNORED if value in ignored else classes.index(name)
        for name, value in zip(names, values, strict=True)
    }
    every = dict.fromkeys([*ignored, IGNORED], IGNORED) | numbers
    painted = {colour: numbers[value] for colour, value in zip(colours, values, strict=bool(colours))}
    return ClassMap(tuple(classes), every, painted)
