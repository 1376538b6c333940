"""Image classification: splits, whole-batch augmentation on the device, top-1 accuracy."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8 and their labels (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        """The same split with its tensors on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Classification:
    """Disjoint train, validation and test splits of one data set.

    `mean` and `std` normalise a channel in units of 1 = `scale`; `shift` is the largest random
    translation in pixels, `flip` whether images may be mirrored.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    shift: int
    flip: bool

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every image and label in every split, in order; 16 hex digits."""
        digest = hashlib.sha256(self.name.encode())
        for split in (self.train, self.validation, self.test):
            digest.update(str(len(split)).encode())
            for tensor in (split.images, split.labels):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def trained_on(self, count: int | None) -> "Classification":
        """The same task with the first so many training images; with all of them where it is None."""
        if count is None:
            return self
        return replace(self, train=Split(self.train.images[:count], self.train.labels[:count]))

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.train.images.shape[1]

    @property
    def image(self) -> tuple[int, ...]:
        """The sizes of an image: channels, height and width."""
        return tuple(self.train.images.shape[1:])

    def example(self) -> Tensor:
        """One normalised image, (1, C, H, W) float32."""
        return self.normalise(self.train.images[:1])

    @property
    def augments(self) -> bool:
        """Whether an image is another one each time that it is trained on."""
        return bool(self.shift) or self.flip

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 images (N, C, H, W) to normalised float32 in channels_last."""
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=images.device).view(shape)
        std = torch.tensor(self.std, device=images.device).view(shape)
        scaled = images.to(torch.float32) / self.scale
        return ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)

    def augment(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A random translation, padded with zeros, and a random mirroring of each image (N, C, H, W)."""
        n, _, height, width = images.shape
        device = images.device
        padded = F.pad(images, (self.shift,) * 4)
        top, left = (
            torch.randint(0, 2 * self.shift + 1, (n, 1, 1), generator=generator).to(device) for _ in range(2)
        )
        rows = top + torch.arange(height, device=device)[:, None]
        columns = torch.arange(width, device=device)[None, :]
        if self.flip:
            mirrored = torch.rand((n, 1, 1), generator=generator).to(device) < 0.5
            columns = torch.where(mirrored, width - 1 - columns, columns)
        every = torch.arange(n, device=device)[:, None, None]
        return padded.permute(0, 2, 3, 1)[every, rows, left + columns].permute(0, 3, 1, 2)

    @torch.no_grad()
    def top1(self, model: nn.Module, split: Split, batch_size: int = 500) -> float:
        """The share of a split's images whose largest logit is their label's; between 0 and 1."""
        model.eval()
        device = _device(model)
        right = 0
        batches = zip(
            torch.split(split.images, batch_size), torch.split(split.labels, batch_size), strict=True
        )
        for images, labels in batches:
            logits = model(self.normalise(images.to(device)))
            right += int((logits.argmax(1) == labels.to(device)).sum())
        return right / len(split)


def _device(model: nn.Module) -> torch.device:
    for parameter in model.parameters():
        return parameter.device
    return torch.device("cpu")


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
