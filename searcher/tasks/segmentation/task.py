"""Semantic segmentation: images with a class for each pixel, whole-batch augmentation with both, mean IoU."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.tasks.base import (
    Batch,
    Figure,
    Gallery,
    Split,
    Task,
    constants,
    device_of,
    shape_words,
    share,
)
from searcher.tasks.segmentation import colours, drawing
from searcher.tasks.segmentation.confusion import IGNORED, confusion, ious, mean_iou, pixel_accuracy

SAMPLE_IMAGES = 4
"""Images of the test split that a sample has."""

EVALUATED_PIXELS = 2**20
"""Of the images that are evaluated at a time."""


@dataclass(frozen=True)
class Segmentation(Task):
    """Images with a class for each pixel; labels are (N, H, W) uint8, `IGNORED` where there is none.

    Attributes:
        names: Of the classes.
        flip: Whether images may be mirrored.
        zoom: The least and the largest factor by which an image is scaled before it is cropped, or padded
            with pixels that are ignored.
        weights: Of the classes in the loss; all alike where it is empty.
        left_out: Counts of images that were left out, by reason.
    """

    figure: ClassVar[str] = "mIoU"
    metrics: ClassVar[tuple[str, ...]] = ("miou", "pixel_accuracy")
    labels: ClassVar[Mapping[str, Figure]] = {
        "miou": share("mean intersection over union"),
        "pixel_accuracy": share("pixels of the right class"),
        "iou": share("intersection over union"),
    }
    by_class: ClassVar[Mapping[str, str]] = {"iou": "IoU"}
    step_images: ClassVar[int | None] = 16

    names: tuple[str, ...]
    flip: bool
    zoom: tuple[float, float]
    weights: tuple[float, ...] = field(default=(), kw_only=True)
    left_out: Mapping[str, int] = field(default_factory=dict, kw_only=True)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Counts of images that were left out, by reason."""
        return self.left_out

    @property
    def augments(self) -> bool:
        """Whether an image is another one each time that it is trained on."""
        return self.flip or self.zoom != (1, 1)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Each image's scale, its place in both directions and its mirroring: (count, 4), between 0 and 1."""
        return torch.rand((count, 4), generator=generator)

    def augment(self, images: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images scaled, cropped and mirrored as drawn, (N, C, H, W) in float32, with their labels.

        The factors are as often below their geometric mean as above. A pixel beyond the border is of the mean
        colour and of no class.
        """
        least, largest = self.zoom
        size = least ** (draws[:, :1] - 1) * largest ** (-draws[:, :1])
        move = (1 - size) * (2 * draws[:, 1:3] - 1)
        sign = torch.where(draws[:, 3:4] < 0.5, -1.0, 1.0) if self.flip else torch.ones_like(size)
        # Where each place of the new image is in the old one, from -1 to 1: old = size · sign · new + move.
        rows = [
            torch.cat([size * sign, 0 * size, move[:, :1]], 1),
            torch.cat([0 * size, size, move[:, 1:]], 1),
        ]
        grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        mean = self.scale * constants(self.mean, images.device).view(1, -1, 1, 1)
        moved = F.grid_sample(images.float() - mean, grid, align_corners=False) + mean
        classes = labels[:, None].float() - IGNORED
        nearest = F.grid_sample(classes, grid, mode="nearest", align_corners=False) + IGNORED
        return moved.clamp(0, self.scale), nearest[:, 0].to(labels.dtype)

    @classmethod
    def misfit(cls, outputs: Any, count: int, classes: int) -> str:
        """Why outputs are no logits (count, classes, h, w), in words; empty where they are."""
        if isinstance(outputs, Tensor) and outputs.ndim == 4 and outputs.shape[:2] == (count, classes):
            return ""
        wanted = f"{count}×{classes}×height×width: one a class and pixel"
        return f"returns {shape_words(outputs)} for {count} images, expected {wanted}"

    def outputs(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Logits of each pixel."""
        area = "×".join(map(str, sizes[0][1:]))
        return f"a logit for each class of each of {area} pixels"

    def tint(self, label: Tensor) -> Tensor | None:
        """The colour of the class of each pixel of (H, W), (3, H, W) uint8."""
        return colours.painted(label, self.classes)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The cross entropy of logits (N, classes, h, w), the weighted mean over the pixels of a class."""
        targets = batch.targets.long()
        weights = constants(self.weights, targets.device) if self.weights else None
        logits = enlarged(outputs, targets.shape[1:])
        total = F.cross_entropy(logits, targets, weights, ignore_index=IGNORED, reduction="sum")
        known = targets != IGNORED
        each = (
            known if weights is None else torch.where(known, weights[targets.clamp(max=self.classes - 1)], 0)
        )
        return total / each.sum().clamp(min=1e-6)

    def divergence(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        """The student's KL divergence from the teacher, its mean over the pixels, times T²."""
        sizes = [max(pair) for pair in zip(outputs.shape[2:], taught.shape[2:], strict=True)]
        student, teacher = (
            F.log_softmax(enlarged(one, sizes).float() / temperature, 1) for one in (outputs, taught)
        )
        divergences = F.kl_div(student, teacher, reduction="none", log_target=True)
        return temperature**2 * divergences.sum(1).mean()

    def figures(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Mean IoU, the share of right pixels, and the IoU of each class that is anywhere."""
        matrix = self.matrix(model, split)
        by_class = zip(self.names, ious(matrix).tolist(), strict=True)
        return {
            "miou": mean_iou(matrix),
            "pixel_accuracy": pixel_accuracy(matrix),
            **{f"iou:{name}": found for name, found in by_class if not math.isnan(found)},
        }

    def quality(self, model: nn.Module, split: Split) -> float:
        """Mean IoU."""
        return mean_iou(self.matrix(model, split))

    def agreement(self, one: nn.Module, other: nn.Module, split: Split) -> float:
        """The share of pixels for which both predict the same class."""
        return self.compare(one, other, split)[2]

    def compare(self, one: nn.Module, other: nn.Module, split: Split) -> tuple[float, float, float]:
        """Mean IoU of both, and the share of pixels for which they predict the same class."""
        matrices = [torch.zeros(self.classes, self.classes, dtype=torch.int64) for _ in range(2)]
        same = pixels = 0
        for ours, theirs in zip(self.predictions(one, split), self.predictions(other, split), strict=True):
            for matrix, (predicted, labels) in zip(matrices, (ours, theirs), strict=True):
                matrix += confusion(predicted, labels, self.classes).cpu()
            same += int((ours[0].cpu() == theirs[0].cpu()).sum())
            pixels += ours[0].numel()
        first, second = map(mean_iou, matrices)
        return first, second, same / pixels

    def matrix(self, model: nn.Module, split: Split) -> Tensor:
        """The confusion matrix of a model over every pixel of a split, (classes, classes) on the CPU."""
        total = torch.zeros(self.classes, self.classes, dtype=torch.int64, device=device_of(model))
        for predicted, labels in self.predictions(model, split):
            total += confusion(predicted, labels, self.classes)
        return total.cpu()

    @torch.no_grad()
    def predictions(self, model: nn.Module, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """The class that a model predicts of each pixel, and the true one, batch by batch, (N, H, W) each.

        They are of the images' size, and on the model's device.
        """
        model.eval()
        device, sides = device_of(model), split.labels.shape[1:]
        size = max(1, EVALUATED_PIXELS // math.prod(sides))
        for images, labels in zip(
            torch.split(split.images, size), torch.split(split.labels, size), strict=True
        ):
            logits = model(self.normalise(images.to(device)))
            yield enlarged(logits, sides).argmax(1), labels.to(device)

    def sample(self, model: nn.Module) -> list[Any]:
        """The classes of the pixels of the first images of the test split, as PNG files in base64."""
        found = self.predictions(model, self.test.first(SAMPLE_IMAGES))
        return [drawing.packed(image) for predicted, _ in found for image in predicted.cpu()]

    def gallery(self, samples: Mapping[str, Sequence[Any]]) -> Gallery | None:
        """The first images of the test split, their true classes, and those that models predict."""
        if not samples:
            return None
        split = self.test.first(SAMPLE_IMAGES)
        paint = [self._painted(label) for label in split.labels]
        rows = {
            "image": [drawing.picture(image, "image") for image in split.images],
            "truth": [drawing.picture(painted, "truth") for painted in paint],
        }
        for name, stored in samples.items():
            rows[name] = [drawing.picture(self._painted(drawing.unpacked(one)), name) for one in stored]
        rows["classes"] = drawing.legend(self.names, colours.palette(self.classes))
        note = "The first images of the test split; a pixel of no class is light."
        return Gallery("Classes before and after", note, rows)

    def _painted(self, label: Tensor) -> Tensor:
        return colours.painted(label, self.classes)


def enlarged(logits: Tensor, sides: Sequence[int]) -> Tensor:
    """Logits (N, classes, h, w) at another size, bilinear; themselves where they have it."""
    if logits.shape[2:] == tuple(sides):
        return logits
    return F.interpolate(logits, size=list(sides), mode="bilinear", align_corners=False)
