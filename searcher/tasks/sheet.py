"""A contact sheet: training images as a training sees them, augmented, with their classes."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from searcher.files import in_one_step
from searcher.tasks.base import Task

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

IMAGES, COLUMNS = 12, 4
_SIDE, _CAPTION, _GAP = 160, 20, 8
_TINT = 0.5
"""The share of a pixel's colour that is its label's."""

_GROUND, _INK, _BOX = (255, 255, 255), (40, 40, 40), (255, 176, 0)


def save(task: Task, path: Path) -> None:
    """Write a task's contact sheet as a PNG.

    Raises:
        OSError: The file cannot be written.
    """
    with in_one_step(path) as part:
        sheet(task).save(part, "PNG")


def sheet(task: Task) -> "Image":
    """The first training images after one augmentation, always the same, with class names, boxes or tints."""
    from PIL import Image, ImageDraw

    chosen = task.train.first(IMAGES)
    draws = task.draw(len(chosen), torch.Generator().manual_seed(0))
    images, labels = task.augment(chosen.images, chosen.labels, draws)
    rows = -(-len(chosen) // COLUMNS)
    wide, high = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    made = Image.new("RGB", (COLUMNS * wide + _GAP, rows * high + _GAP), _GROUND)
    for place, (image, label) in enumerate(zip(images, labels, strict=True)):
        corner = (_GAP + place % COLUMNS * wide, _GAP + place // COLUMNS * high)
        tile, caption = _tile(_tinted(image, task, label), task.scale), _caption(task, label)
        _mark(tile, task, label)
        made.paste(tile, corner)
        place_of_text = (corner[0], corner[1] + _SIDE + 2)
        ImageDraw.Draw(made).text(place_of_text, caption[:24], fill=_INK, font=_font())
    return made


def _font() -> "FreeTypeFont | ImageFont":
    from PIL.ImageFont import load_default

    return load_default(13)


def _tinted(image: Tensor, task: Task, label: Tensor) -> Tensor:
    """An image (C, H, W) beneath the colours of its pixels' labels, where they have any."""
    tint = task.tint(label)
    return image if tint is None else (1 - _TINT) * image.float() + _TINT * tint * (task.scale / 255)


def _tile(image: Tensor, scale: float) -> "Image":
    """An image (C, H, W) as large as a tile, its shape kept; what has other channels than colours in grey."""
    from PIL import Image

    values = (image.float() * (255 / scale)).clamp(0, 255).byte().numpy()
    seen = values if len(values) == 3 else np.repeat(values[:1], 3, 0)
    picture = Image.fromarray(np.ascontiguousarray(seen.transpose(1, 2, 0)))
    factor = _SIDE / max(picture.size)
    sizes = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    how = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.BILINEAR
    tile = Image.new("RGB", (_SIDE, _SIDE), _GROUND)
    tile.paste(picture.resize(sizes, how))
    return tile


def _names(task: Task) -> tuple[str, ...]:
    found = getattr(task, "names", ())
    return tuple(found) if len(found) == task.classes else tuple(map(str, range(task.classes)))


def _caption(task: Task, label: Tensor) -> str:
    """The class of an image, or those of its boxes, each once."""
    names = _names(task)
    if label.ndim == 0 and not label.is_floating_point():
        number = int(label)
        return names[number] if 0 <= number < len(names) else str(number)
    if label.ndim == 2 and label.shape[1] == 5:
        kinds = sorted({int(kind) for kind in label[:, 0].tolist() if kind >= 0})
        return ", ".join(names[kind] for kind in kinds)
    return ""


def _mark(tile: "Image", task: Task, label: Tensor) -> None:
    """Draw the boxes of an image for detection."""
    from PIL import ImageDraw

    if label.ndim != 2 or label.shape[1] != 5:
        return
    height, width = task.image[1:]
    across, down = (_SIDE * side / max(height, width) for side in (width, height))
    for kind, x1, y1, x2, y2 in label.tolist():
        if kind >= 0 and x2 > x1 and y2 > y1:
            box = (x1 * across, y1 * down, x2 * across, y2 * down)
            ImageDraw.Draw(tile).rectangle(box, outline=_BOX)
