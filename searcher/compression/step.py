"""One step of a training, on tensors alone, so that a GPU can run it without its host."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.epoch import DRAWS, PARTNER, PLACE, WEIGHT
from searcher.compression.optimizer import Optimizer
from searcher.compression.precision import autocast
from searcher.tasks.base import Batch, Split, Task, one_hot

Loss = Callable[[Any, Batch], Tensor]
"""From a model's outputs and the batch to a scalar."""


@dataclass
class Step:
    """Augmentation, forward pass, loss, backward pass, optimizer, and what is done after it.

    Attributes:
        task: Augments and normalises.
        data: The training split; on the device, where no images are given to a step.
        model: The model that is trained.
        network: The model, as it is run: compiled, where it is.
        optimizer: Of the model's weights.
        loss: Of its outputs.
        mixes: Whether images are mixed with others of their batch.
        layout: The memory format of the images.
        after: Called at the end.
        total: The sum of the losses since it was last set to zero, a scalar.
        changed: The tensors that `after` changes beside the model's.
    """

    task: Task
    data: Split
    model: nn.Module
    network: nn.Module
    optimizer: Optimizer
    loss: Loss
    mixes: bool
    layout: torch.memory_format
    after: Callable[[], None]
    total: Tensor
    changed: Sequence[Tensor] = ()

    def __call__(self, rows: Tensor, *given: Tensor) -> None:
        """Make a step with the images of some rows of an epoch.

        Args:
            rows: (N, 3 or more), on the device.
            given: The images (N, C, H, W) and the labels (N, ...) of these rows, on the device, where the
                split is not there.
        """
        chosen = rows[:, PLACE].long()
        drawn, labels = given or (self.data.images[chosen], self.data.labels[chosen])
        images, targets = self.task.augment(drawn, labels, rows[:, DRAWS:].float())
        images = self.task.normalise(images).contiguous(memory_format=self.layout)
        if self.mixes:
            images, targets = mixed(images, targets, self.task.classes, rows)
        with autocast(rows.device):
            loss = self.loss(self.network(images), Batch(images, targets, chosen))
        self.optimizer.step(loss)
        self.after()
        self.total += loss.detach()

    def state(self) -> Iterator[Tensor]:
        """The tensors that a step changes."""
        yield from self.model.parameters()
        yield from self.model.buffers()
        yield from self.optimizer.tensors()
        yield self.total
        yield from self.changed


def mixed(images: Tensor, labels: Tensor, classes: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """mixup (Zhang et al. 2018): each image with its partner of the batch; labels become probabilities."""
    partner, weight = rows[:, PARTNER].long(), rows[:, WEIGHT].to(images.dtype)
    targets = one_hot(labels, classes).to(images.dtype)
    share, column = weight.view(-1, 1, 1, 1), weight.view(-1, 1)
    return (
        share * images + (1 - share) * images[partner],
        column * targets + (1 - column) * targets[partner],
    )
