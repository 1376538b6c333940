"""All that is random in an epoch, drawn at once on the CPU: a row for each image that is trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.compression import mixing
from searcher.compression.augmentation import Augmentation
from searcher.compression.mixing import Mixing
from searcher.tasks.base import Task

PLACE, VIEW, MIXTURE = 0, 1, slice(2, 2 + mixing.COLUMNS)
"""Columns: the image's place in the split, which of its fixed views it is, and what `Mixing` has drawn."""

DRAWS = MIXTURE.stop
"""The first column of what the task's augmentation and the training's own have drawn."""


@dataclass(frozen=True)
class Randomness:
    """All that draws in an epoch.

    Attributes:
        task: Whose augmentation draws.
        augmentation: The training's own.
        mixing: Of the images of a batch.
        batch_size: Of a step; the last one may be smaller.
        views: What was drawn for some views of every image, (views, images, any): each epoch takes one of
            them an image. None where every epoch draws.
    """

    task: Task
    augmentation: Augmentation
    mixing: Mixing
    batch_size: int
    views: Tensor | None = None

    def rows(self, images: int, generator: torch.Generator) -> Tensor:
        """An epoch's rows (images, `DRAWS` or more), in the order in which the images are trained on.

        They are float64, which holds every place exactly, so that all of it is one tensor to send to a GPU.
        """
        order = torch.randperm(images, generator=generator)
        mixture = self.mixing.draw(images, self.batch_size, self.task.image[1:], generator)
        view = torch.zeros(images, dtype=torch.int64)
        if self.views is None:
            drawn = draw(self.task, self.augmentation, images, generator)
        else:
            view = torch.randint(len(self.views), (images,), generator=generator)
            drawn = self.views[view, order]
        return torch.cat([torch.stack([order, view], 1).double(), mixture, drawn], 1)


def draw(task: Task, augmentation: Augmentation, count: int, generator: torch.Generator) -> Tensor:
    """What changes so many images, (count, any) float64: first the task's, then the training's own."""
    drawn = task.draw(count, generator).double()
    return torch.cat([drawn, augmentation.draw(count, task.image[1:], generator)], 1)


def sent(table: Tensor, device: torch.device) -> Tensor:
    """An epoch's rows on a device; nothing waits for the copy."""
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table
