"""One image file as a square of pixels: turned as it is to be seen, its values in their own range."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from searcher.tasks.images import ON_ITS_SIDE, colours, orientation

if TYPE_CHECKING:
    from PIL.Image import Image


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
        coloured = colours(upright, opened.format, remarks)
        stretched = coloured.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(stretched).transpose(2, 0, 1), remarks


def _upright(image: "Image", annotated: tuple[int, int], remarks: list[str]) -> "Image":
    from PIL import ImageOps

    exif = orientation(image)
    if exif in ON_ITS_SIDE and image.size == annotated and annotated[0] != annotated[1]:
        remarks.append("image left as it is stored, not turned: so it is annotated")
    elif exif != 1:
        image = ImageOps.exif_transpose(image)
    (width, height), (wide, high) = image.size, annotated
    if abs(width * high - height * wide) > max(width, height, wide, high):
        remarks.append("image of another shape than is annotated")
    return image
