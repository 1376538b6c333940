"""Mixtures of the images of a batch, and of what they are: mixup, CutMix, and smoothed labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.compression.augmentation import inside
from searcher.tasks.base import one_hot

PARTNER, WEIGHT, OUTSIDE, BOX, COLUMNS = 0, 1, 2, slice(3, 7), 7
"""Columns: the place of the partner in the batch; the image's own share of the label, and of the pixels that
are not in the box; the box, which is the partner's, as `augmentation.inside` takes it."""

ALONE = (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
"""What is drawn for a batch that is not mixed, the partners apart."""


@dataclass(frozen=True)
class Mixing:
    """The alphas of mixup (Zhang et al. 2018) and of CutMix (Yun et al. 2019), 0 where they are off."""

    mixup: float
    cutmix: float

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def draw(self, images: int, batch_size: int, sides: Sequence[int], generator: torch.Generator) -> Tensor:
        """The random numbers of an epoch's images, one mixture a batch: (images, `COLUMNS`) float64."""
        rows = torch.zeros((images, COLUMNS), dtype=torch.float64)
        rows[:, PARTNER + 1 :] = torch.tensor(ALONE, dtype=torch.float64)
        for start in range(0, images, batch_size) if self else ():
            batch = rows[start : start + batch_size]
            batch[:, PARTNER] = torch.randperm(len(batch), generator=generator).double()
            batch[:, PARTNER + 1 :] = torch.tensor(self._mixture(sides, generator), dtype=torch.float64)
        return rows

    def _mixture(self, sides: Sequence[int], generator: torch.Generator) -> tuple[float, ...]:
        cuts = bool(self.cutmix)
        if self.mixup and self.cutmix:
            cuts = float(torch.rand((), generator=generator)) < 0.5
        if cuts:
            return cut(beta(self.cutmix, generator), sides, torch.rand(2, generator=generator).tolist())
        weight = beta(self.mixup, generator)
        return (weight, weight, *ALONE[2:])


def cut(weight: float, sides: Sequence[int], centre: Sequence[float]) -> tuple[float, ...]:
    """A box whose area is the other share of an image: the columns from `WEIGHT` on.

    Args:
        weight: The share of the image that is its own, where the box is not cut by the border.
        sides: Height and width.
        centre: Of the box, in shares of the image.
    """
    box, area = [], 1
    for side, share in zip(sides, centre, strict=True):
        span, middle = int(side * math.sqrt(1 - weight)), int(side * share)
        first, last = max(0, middle - span // 2), min(side, middle - span // 2 + span)
        box += [float(first), float(last)]
        area *= last - first
    return (1 - area / math.prod(sides), 1.0, *box)


def mixed(images: Tensor, labels: Tensor, classes: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each image with its partner of the batch; labels become probabilities."""
    partner, weight = rows[:, PARTNER].long(), rows[:, WEIGHT].to(images.dtype).view(-1, 1)
    outside = rows[:, OUTSIDE].to(images.dtype).view(-1, 1, 1, 1)
    share = outside * ~inside(rows[:, BOX], images)
    targets = one_hot(labels, classes).to(images.dtype)
    return (
        share * images + (1 - share) * images[partner],
        weight * targets + (1 - weight) * targets[partner],
    )


def smoothed(targets: Tensor, classes: int, share: float) -> Tensor:
    """Labels (N,) or probabilities (N, classes) of which a share is spread over all classes."""
    if not targets.is_floating_point():
        targets = one_hot(targets, classes).float()
    return (1 - share) * targets + share / classes


def beta(alpha: float, generator: torch.Generator) -> float:
    """A Beta(alpha, alpha) draw by Jöhnk's algorithm, which is exact and quick for alpha ≤ 1."""
    # A draw from two Gamma draws would ignore the generator; two powered uniforms use it.
    while True:
        u, v = torch.rand(2, generator=generator, dtype=torch.float64).pow(1 / alpha).tolist()
        if 0 < u + v <= 1:
            return float(u / (u + v))
