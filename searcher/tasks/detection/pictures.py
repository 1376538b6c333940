"""One image file as a square of pixels: turned as it is to be seen, its values in their own range."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_SCALED_TO_SIXTEEN = ("PNG", "PPM")


class Unusable(Exception):
    """An image of which it is not known how it looks; the text is the reason that is counted."""


def square(path: Path, side: int, annotated: tuple[int, int]) -> tuple[np.ndarray, list[str]]:
    """An image stretched to a square, and what a reader should know of how it was read.

    An image with an EXIF orientation is turned as viewers, cv2 and detectron2 turn it, since it is the turned
    one that most tools let people draw boxes on. Where the annotated sizes are those of the file before it is
    turned, the boxes were drawn there, and it stays as it is. 16 bits are scaled to 8; what is transparent is
    laid on white.

    Args:
        path: The file.
        side: Pixels of a side.
        annotated: Width and height that the annotations say the image has.

    Returns:
        (3, side, side) uint8, and the remarks.

    Raises:
        Unusable: The range of its values, or what is to be seen of it, is not known.
        OSError: There is no such file, or it is damaged.
        ValueError: It has colours that cannot be converted.
    """
    from PIL import Image

    with Image.open(path) as opened:
        remarks: list[str] = []
        upright = _upright(opened, annotated, remarks)
        colours = _colours(upright, opened.format, remarks)
        stretched = colours.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(stretched).transpose(2, 0, 1), remarks


def _upright(image: "Image", annotated: tuple[int, int], remarks: list[str]) -> "Image":
    from PIL import ImageOps

    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # what is damaged beside the pixels turns nothing
        orientation = 1
    if orientation in _ON_ITS_SIDE and image.size == annotated and annotated[0] != annotated[1]:
        remarks.append("image left as it is stored, not turned: so it is annotated")
    elif orientation != 1:
        image = ImageOps.exif_transpose(image)
    (width, height), (wide, high) = image.size, annotated
    if abs(width * high - height * wide) > max(width, height, wide, high):
        remarks.append("image of another shape than is annotated")
    return image


def _colours(image: "Image", form: str | None, remarks: list[str]) -> "Image":
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
