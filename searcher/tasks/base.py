"""The base of all kinds of tasks: splits, normalisation, loss, figures of quality."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

_READ_IMAGES = 1024


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) uint8 and what is known of each (N, ...): of a class, its number."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Self:
        """The same split with its tensors on a device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def first(self, count: int) -> Self:
        """The split's first so many images."""
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    def only(self, places: Tensor) -> Self:
        """The split's images at some places, (N,) int64."""
        return replace(self, images=self.images[places], labels=self.labels[places])


@dataclass(frozen=True)
class Batch:
    """One step's training images.

    Attributes:
        images: Augmented and normalised, (N, C, H, W).
        targets: Labels (N, ...) as the split has them; for classes that are mixed or smoothed,
            probabilities (N, classes).
        chosen: Which of the training split's images these are, (N,).
        views: Which of its fixed views each is, (N,), where a training has such.
    """

    images: Tensor
    targets: Tensor
    chosen: Tensor
    views: Tensor | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of a network, as a reader is told it.

    Attributes:
        label: Its name in words.
        goal: Which way it is better; None where neither is.
        unit: `%` of a share, which is a number between 0 and 1.
        change: How a difference is stated: in points of a percentage, as a factor, or not at all.
    """

    label: str
    goal: Literal["maximize", "minimize"] | None
    unit: str = ""
    change: Literal["points", "factor", ""] = "factor"


def share(label: str) -> Figure:
    """A figure between 0 and 1 that is better the larger it is."""
    return Figure(label, "maximize", "%", "points")


@dataclass(frozen=True)
class Gallery:
    """Pictures of what models make of some images: by a caption, an SVG of each image."""

    heading: str
    note: str
    rows: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Task(ABC):
    """Disjoint train, validation and test splits of one data set.

    `mean` and `std` normalise a channel in units of 1 = `scale`.

    Attributes:
        found: Of a user's own data, what it was found to be and how it was split, a line each.
        conditions: Of a user's own data, in what a training differs beside images and labels.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    found: tuple[str, ...] = field(default=(), kw_only=True)
    conditions: str = field(default="", kw_only=True)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every image and label in every split, in order; 16 hex digits."""
        digest = hashlib.sha256((self.name + self.conditions).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(str(len(split)).encode())
            for tensor in (split.images, split.labels):
                for part in torch.split(
                    tensor, _READ_IMAGES
                ):  # of a memory map, which is not to be read at once
                    digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @property
    def dropped(self) -> Mapping[str, int]:
        """Counts of data that was left out, by reason."""
        return {}

    def trained_on(self, count: int | None) -> Self:
        """The same task with the first so many training images; with all of them where it is None."""
        return self if count is None else replace(self, train=self.train.first(count))

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

    def normalise(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in units of 1 = `scale` to normalised float32 in channels_last."""
        shape = (1, -1, 1, 1)
        mean, std = (constants(values, images.device).view(shape) for values in (self.mean, self.std))
        scaled = images.to(torch.float32) / self.scale
        return ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)

    figure: ClassVar[str]
    """The name of `quality` for a reader."""

    metrics: ClassVar[tuple[str, ...]]
    """The names of those figures of quality that a study can ask for."""

    labels: ClassVar[Mapping[str, Figure]]
    """All figures of quality by name, in the order in which they are shown."""

    by_class: ClassVar[Mapping[str, str]] = {}
    """Figures that there are of each class, under ``NAME:CLASS``, each with a short name for a table."""

    mixes: ClassVar[bool] = False
    """Whether labels are classes, of which a mixed image can have two."""

    step_images: ClassVar[int | None] = None
    """Images of a training's step, where their number is not to be read off that of the data."""

    @property
    def augments(self) -> bool:
        """Whether an image is another one each time that it is trained on."""
        return False

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The random numbers of the augmentation of so many images, on the CPU: (count, any) float32."""
        return torch.empty(count, 0)

    def augment(self, images: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """A batch changed as drawn, images (N, C, H, W) with their labels.

        All that is random is among the draws, (N, any), which are on the images' device. On a GPU it becomes
        a part of a CUDA graph where nothing in it waits for the GPU.
        """
        return images, labels

    @classmethod
    @abstractmethod
    def misfit(cls, outputs: Any, count: int, classes: int) -> str:
        """Why a model's outputs for so many images are none of this task's, in words; or empty."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """The loss of a model's outputs for a batch, a scalar."""

    @abstractmethod
    def divergence(self, outputs: Any, taught: Any, temperature: float) -> Tensor:
        """A student's divergence from a teacher, both outputs softened by a temperature, a scalar."""

    @abstractmethod
    def figures(self, model: nn.Module, split: Split) -> dict[str, float]:
        """Every figure of quality by name, from one run over the split; no NaN."""

    def outputs(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """The meaning of outputs of such sizes, without the batch's, in words; empty where unknown."""
        return ""

    def tint(self, label: Tensor) -> Tensor | None:
        """A colour for each pixel of an image by its label, (3, H, W) uint8; None where pixels have none."""
        return None

    def sample(self, model: nn.Module) -> list[Any] | None:
        """A model's findings in a few images of the test split, as JSON, to be drawn; None where none are."""
        return None

    def gallery(self, samples: Mapping[str, Sequence[Any]]) -> Gallery | None:
        """Pictures of samples, by the models' names; None where there is nothing to draw."""
        return None

    @abstractmethod
    def quality(self, model: nn.Module, split: Split) -> float:
        """The figure that a training reports after each epoch, between 0 and 1."""

    @abstractmethod
    def agreement(self, one: nn.Module, other: nn.Module, split: Split) -> float:
        """The share of one model's predictions on a split in which another is at one with it."""

    def compare(self, one: nn.Module, other: nn.Module, split: Split) -> tuple[float, float, float]:
        """The quality of one model on a split, that of another, and the agreement of the two.

        A kind of task that finds all three in one run of each model does so.
        """
        return self.quality(one, split), self.quality(other, split), self.agreement(one, other, split)


def constants(values: Sequence[float], device: torch.device) -> Tensor:
    """Numbers as a float32 tensor (values,), made on the device: a CUDA graph holds no copy from the host."""
    return torch.cat([torch.full((1,), value, dtype=torch.float32, device=device) for value in values])


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Whether each label (...) is each class, (..., classes); labels beyond the classes are none."""
    return labels[..., None] == torch.arange(classes, device=labels.device)


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's first parameter; the CPU where it has none."""
    for parameter in model.parameters():
        return parameter.device
    return torch.device("cpu")


def shape_words(outputs: Any) -> str:
    """The sizes of a model's outputs, as a reader says them."""
    if isinstance(outputs, Tensor):
        return "×".join(map(str, outputs.shape)) or "a number"
    if isinstance(outputs, tuple | list):
        return f"{len(outputs)} outputs ({', '.join(map(shape_words, outputs))})"
    return f"a {type(outputs).__name__}"
