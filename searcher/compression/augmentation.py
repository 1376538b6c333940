"""Augmentations that a training asks for beside its task's own: rotation, colour, cutout."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from searcher.config.recipe import Training
from searcher.tasks.base import Task, constants

ANGLE, FACTORS, BOX, COLUMNS = 0, slice(1, 4), slice(4, 8), 8
"""Columns of what is drawn: radians; factors of brightness, contrast and saturation; the first and last row
and column, exclusively, of what is cut out."""

LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True)
class Augmentation:
    """The strengths of a training's augmentations, as `Training` has them."""

    rotation: float
    colour: float
    cutout: float

    def __bool__(self) -> bool:
        return bool(self.rotation or self.colour or self.cutout)

    def draw(self, count: int, sides: Sequence[int], generator: torch.Generator) -> Tensor:
        """The random numbers of so many images of that height and width: (count, `COLUMNS`) float64."""
        if not self:
            return torch.empty((count, 0), dtype=torch.float64)
        uniform = torch.rand((count, 6), generator=generator, dtype=torch.float64)
        wide = 2 * uniform - 1
        sizes = torch.tensor(sides, dtype=torch.float64)
        span = (self.cutout * sizes).round()
        first = (uniform[:, 4:] * sizes).floor() - (span / 2).floor()
        box = torch.stack([first, first + span], 2).flatten(1)
        return torch.cat([math.radians(self.rotation) * wide[:, :1], 1 + self.colour * wide[:, 1:4], box], 1)

    def normalised(self, task: Task, images: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) as a training sees them, with their labels.

        Args:
            task: Augments as it does, and normalises.
            images: As a split has them.
            labels: As a split has them.
            draws: What the task and this have drawn, (N, any), on the images' device.
        """
        own = draws.shape[1] - (COLUMNS if self else 0)
        images, labels = task.augment(images, labels, draws[:, :own].float())
        drawn = draws[:, own:].float()
        if self.rotation:
            images = rotated(images.float(), drawn[:, ANGLE])
        if self.colour:
            images = coloured(images.float(), drawn[:, FACTORS], task.scale)
        images = task.normalise(images)
        if self.cutout:
            images = images.masked_fill(inside(drawn[:, BOX], images), 0)
        return images, labels


def augmentation(training: Training) -> Augmentation:
    """The augmentations that a training asks for."""
    return Augmentation(training.rotation, training.colour, training.cutout)


def inside(boxes: Tensor, images: Tensor) -> Tensor:
    """Whether each pixel of images (N, C, H, W) is in its image's box, (N, 1, H, W).

    Args:
        boxes: First row, and the one after the last, and columns alike: (N, 4).
        images: The images.
    """
    top, bottom, left, right = boxes.view(-1, 4, 1, 1, 1).unbind(1)
    rows = torch.arange(images.shape[2], device=images.device)[:, None]
    columns = torch.arange(images.shape[3], device=images.device)
    return (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)


def rotated(images: Tensor, angles: Tensor) -> Tensor:
    """Images (N, C, H, W) about their middles, counter-clockwise, by angles (N,); zeros where they end.

    A rotation by 0 is exact, which `F.grid_sample` is not: it computes in shares of the image.
    """
    height, width = images.shape[2:]
    y, x = (torch.arange(n, device=images.device) - (n - 1) / 2 for n in (height, width))
    cos, sin = angles.cos().view(-1, 1, 1), angles.sin().view(-1, 1, 1)
    # Where each place of the new image is in the old one.
    rows = cos * y[:, None] + sin * x + (height - 1) / 2
    columns = cos * x - sin * y[:, None] + (width - 1) / 2
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    upper = _at(images, top, left) * (1 - right) + _at(images, top, left + 1) * right
    lower = _at(images, top + 1, left) * (1 - right) + _at(images, top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


def _at(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels at places (N, H, W) of images (N, C, H, W); zeros beyond their border."""
    height, width = images.shape[2:]
    rows, columns = rows.clamp(-1, height).long() + 1, columns.clamp(-1, width).long() + 1
    every = torch.arange(len(images), device=images.device)[:, None, None]
    return F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)[every, rows, columns].permute(0, 3, 1, 2)


def coloured(images: Tensor, factors: Tensor, scale: float) -> Tensor:
    """Images (N, C, H, W) from 0 to `scale` in other brightness, contrast and saturation, (N, 3)."""
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1).unbind(1)
    images = (brightness * images).clamp(0, scale)
    mean = _grey(images).mean((2, 3), keepdim=True)
    images = (contrast * images + (1 - contrast) * mean).clamp(0, scale)
    return (saturation * images + (1 - saturation) * _grey(images)).clamp(0, scale)


def _grey(images: Tensor) -> Tensor:
    """The grey of images (N, C, H, W), (N, 1, H, W)."""
    if images.shape[1] != len(LUMA):
        return images.mean(1, keepdim=True)
    shares = constants(LUMA, images.device).view(1, -1, 1, 1)
    return (shares * images).sum(1, keepdim=True)
