"""Image classification: splits, whole-batch augmentation on the device, top-1 accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.tasks.base import Batch, Figure, Split, Task, device_of, shape_words, share


@dataclass(frozen=True)
class Classification(Task):
    """Images of one class each; a split's labels are their numbers, (N,) int64.

    `shift` is the largest random translation in pixels, `flip` whether images may be mirrored, `names` are
    those of the classes, where they have any, and `left_out` counts images that were left out, by reason.
    """

    figure: ClassVar[str] = "top-1"
    metrics: ClassVar[tuple[str, ...]] = ("top1",)
    labels: ClassVar[Mapping[str, Figure]] = {"top1": share("top-1 accuracy")}
    mixes: ClassVar[bool] = True

    shift: int
    flip: bool
    names: tuple[str, ...] = field(default=(), kw_only=True)
    left_out: Mapping[str, int] = field(default_factory=dict, kw_only=True)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Counts of images that were left out, by reason."""
        return self.left_out

    @property
    def augments(self) -> bool:
        """Whether an image is another one each time that it is trained on."""
        return bool(self.shift) or self.flip

    @classmethod
    def misfit(cls, outputs: Any, count: int, classes: int) -> str:
        """Why outputs are no logits (count, classes), in words; empty where they are."""
        if isinstance(outputs, Tensor) and outputs.shape == (count, classes):
            return ""
        return f"returns {shape_words(outputs)} for {count} images, expected {count}×{classes}: one a class"

    def outputs(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Logits."""
        return "a logit for each class"

    def figures(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Top-1 accuracy."""
        return {"top1": self.top1(model, split)}

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The cross entropy of logits (N, classes)."""
        return F.cross_entropy(outputs, batch.targets)

    def divergence(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        """The KL divergence of the student's classes from the teacher's, times the temperature squared."""
        soft = F.log_softmax(taught.float() / temperature, 1)
        student = F.log_softmax(outputs.float() / temperature, 1)
        return temperature**2 * F.kl_div(student, soft, reduction="batchmean", log_target=True)

    def quality(self, model: nn.Module, split: Split) -> float:
        """Top-1 accuracy."""
        return self.top1(model, split)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Each image's first row and column in its padded self, and whether it is mirrored: (count, 3)."""
        top, left = (
            torch.randint(0, 2 * self.shift + 1, (count,), generator=generator).float() for _ in range(2)
        )
        return torch.stack([top, left, (torch.rand(count, generator=generator) < 0.5).float()], 1)

    def augment(self, images: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """A translation, padded with zeros, and a mirroring of each image (N, C, H, W), as drawn."""
        n, _, height, width = images.shape
        device = images.device
        top, left, mirrored = draws.long().view(n, 3, 1, 1).unbind(1)
        padded = F.pad(images, (self.shift,) * 4)
        rows = top + torch.arange(height, device=device)[:, None]
        columns = torch.arange(width, device=device)[None, :]
        if self.flip:
            columns = torch.where(mirrored.bool(), width - 1 - columns, columns)
        every = torch.arange(n, device=device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[every, rows, left + columns].permute(0, 3, 1, 2), labels

    def agreement(self, one: nn.Module, other: nn.Module, split: Split) -> float:
        """The share of images for which both predict the same class."""
        return self.compare(one, other, split)[2]

    def compare(self, one: nn.Module, other: nn.Module, split: Split) -> tuple[float, float, float]:
        """Top-1 accuracy of both, and the share of images for which they predict the same class."""
        ours, theirs = (self._predictions(model, split) for model in (one, other))
        pairs = ((ours, split.labels), (theirs, split.labels), (ours, theirs))
        first, second, same = (int((a == b).sum()) / len(split) for a, b in pairs)
        return first, second, same

    @torch.no_grad()
    def _predictions(self, model: nn.Module, split: Split) -> Tensor:
        """The class that a model predicts of each image, (N,) on the CPU."""
        model.eval()
        device, batches = device_of(model), torch.split(split.images, 500)
        return torch.cat([model(self.normalise(images.to(device))).argmax(1).cpu() for images in batches])

    @torch.no_grad()
    def top1(self, model: nn.Module, split: Split, batch_size: int = 500) -> float:
        """The share of a split's images whose largest logit is their label's; between 0 and 1."""
        model.eval()
        device = device_of(model)
        right = torch.zeros((), dtype=torch.int64, device=device)
        batches = zip(
            torch.split(split.images, batch_size), torch.split(split.labels, batch_size), strict=True
        )
        for images, labels in batches:
            logits = model(self.normalise(images.to(device)))
            right += (logits.argmax(1) == labels.to(device)).sum()
        return int(right) / len(split)


def carve(images: np.ndarray, labels: np.ndarray, sizes: tuple[int, ...], seed: int) -> list[Split]:
    """Disjoint random splits of the given sizes; the same seed gives the same splits."""
    order = np.random.default_rng(seed).permutation(len(labels))
    splits, start = [], 0
    for size in sizes:
        chosen = np.sort(order[start : start + size])
        splits.append(as_split(images[chosen], labels[chosen]))
        start += size
    return splits


def as_split(images: np.ndarray, labels: np.ndarray) -> Split:
    """A split of uint8 images (N, C, H, W) and integer labels (N,)."""
    return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64)))
