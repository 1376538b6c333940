"""Image files as pixels: turned as they are to be seen, their values in 8 bits, of one size."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
)
"""Of the files that are images by their name."""

ON_ITS_SIDE = (5, 6, 7, 8)
"""The EXIF orientations that exchange width and height."""

_ORIENTATION = 0x0112
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_SCALED_TO_SIXTEEN = ("PNG", "PPM")
_GREY = ("1", "L", "LA", "I", "F", *_SIXTEEN)


class Unusable(Exception):
    """An image of which it is not known how it looks; the text is the reason that is counted."""


@dataclass(frozen=True)
class Look:
    """What an image file's header says: its height and width as it is seen, and whether it is grey."""

    sides: tuple[int, int]
    grey: bool


def look(path: Path) -> Look | None:
    """What a file's header says; None where it is no image that can be read."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            width, height = opened.size
            turned = orientation(opened) in ON_ITS_SIDE
            return Look((width, height) if turned else (height, width), opened.mode in _GREY)
    except Exception:  # Pillow raises all kinds of them at damaged files
        return None


def pixels(path: Path, channels: int, sides: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """An image of so many channels, its middle in a size; and what a reader should know of how it was read.

    The image is turned as its EXIF says, scaled with antialiasing until it covers the size, and cropped.

    Returns:
        (channels, height, width) uint8, and the remarks.

    Raises:
        Unusable: The range of its values, or what is to be seen of it, is not known.
        OSError: There is no such file, or it is damaged.
        ValueError: It has colours that cannot be converted.
    """
    from PIL import Image, ImageOps

    height, width = sides
    with Image.open(path) as opened:
        remarks: list[str] = []
        opened.draft(
            None, (2 * max(sides), 2 * max(sides))
        )  # a JPEG of a camera is read at a part of its size
        upright = opened if orientation(opened) == 1 else ImageOps.exif_transpose(opened)
        coloured = colours(upright, opened.format, remarks)
    wanted = coloured if channels == 3 else coloured.convert("L")
    if wanted.size != (width, height):
        wanted = ImageOps.fit(wanted, (width, height), Image.Resampling.BILINEAR)
    found = np.asarray(wanted)
    return np.ascontiguousarray(found.reshape(height, width, channels).transpose(2, 0, 1)), remarks


def orientation(image: "Image") -> int:
    """An image's EXIF orientation; 1, which is upright, where it has none."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # what is damaged beside the pixels turns nothing
        return 1


def colours(image: "Image", form: str | None, remarks: list[str]) -> "Image":
    """An image in red, green and blue of 8 bits; 16 bits are scaled, what is transparent is laid on white.

    Raises:
        Unusable: The range of its values, or what is to be seen of it, is not known.
    """
    from PIL import Image

    if image.mode in _SIXTEEN or (image.mode == "I" and form in _SCALED_TO_SIXTEEN):
        # The high byte, which is what Pillow and libpng keep of 16 bits of red, green and blue.
        high = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(high.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise Unusable("image of 32-bit values, whose range is not known")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    least, most = layered.getchannel("A").getextrema()
    if most == 0:
        raise Unusable("image that is transparent all over")
    if least == 255:
        return layered.convert("RGB")
    remarks.append("transparent image, laid on white")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def spread(paths: Sequence[Path], count: int) -> list[Path]:
    """As many of the paths, evenly spread over them."""
    step = max(1, len(paths) / count)
    return [paths[int(place * step)] for place in range(min(count, len(paths)))]
