"""One step of a training, on tensors alone, so that a GPU can run it without its host."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.augmentation import Augmentation
from searcher.compression.average import Average
from searcher.compression.epoch import DRAWS, MIXTURE, PLACE, VIEW
from searcher.compression.mixing import Mixing, mixed, smoothed
from searcher.compression.optimizer import Optimizer
from searcher.compression.precision import autocast
from searcher.config.stages.base import Precision
from searcher.tasks.base import Batch, Split, Task

Loss = Callable[[Any, Batch], Tensor]
"""From a model's outputs and the batch to a scalar."""


@dataclass
class Step:
    """Augmentation, forward pass, loss, backward pass, optimizer, and what is done after it.

    Attributes:
        task: Augments and normalises.
        data: The training split; on the device, where no images are given to a step.
        trained: All that is trained: the model, and what its loss has of its own.
        network: The model, as it is run: compiled, where it is.
        optimizer: Of the trained weights.
        loss: Of the model's outputs.
        augmentation: The training's own.
        mixing: Of the images of a batch.
        smoothing: The share of a label that is spread over all classes.
        precision: Of the forward pass and the loss.
        layout: The memory format of the images.
        after: Called after the optimizer.
        average: Of the model's weights, where one is kept.
        total: The sum of the losses since it was last set to zero, a scalar.
        changed: The tensors that `after` changes beside the model's.
    """

    task: Task
    data: Split
    trained: nn.Module
    network: nn.Module
    optimizer: Optimizer
    loss: Loss
    augmentation: Augmentation
    mixing: Mixing
    smoothing: float
    precision: Precision
    layout: torch.memory_format
    after: Callable[[], None]
    average: Average | None
    total: Tensor
    changed: Sequence[Tensor] = ()

    def __call__(self, rows: Tensor, *given: Tensor) -> None:
        """Make a step with the images of some rows of an epoch.

        Args:
            rows: (N, `DRAWS` or more), on the device.
            given: The images (N, C, H, W) and the labels (N, ...) of these rows, on the device, where the
                split is not there.
        """
        batch = self._batch(rows, given)
        with autocast(rows.device, self.precision):
            loss = self.loss(self.network(batch.images), batch)
        self.optimizer.step(loss)
        self.after()
        if self.average:
            self.average.step()
        self.total += loss.detach()

    def _batch(self, rows: Tensor, given: tuple[Tensor, ...]) -> Batch:
        chosen = rows[:, PLACE].long()
        drawn, labels = given or (self.data.images[chosen], self.data.labels[chosen])
        images, targets = self.augmentation.normalised(self.task, drawn, labels, rows[:, DRAWS:])
        images = images.contiguous(memory_format=self.layout)
        if self.mixing:
            images, targets = mixed(images, targets, self.task.classes, rows[:, MIXTURE])
        if self.smoothing:
            targets = smoothed(targets, self.task.classes, self.smoothing)
        return Batch(images, targets, chosen, rows[:, VIEW].long())

    def state(self) -> Iterator[Tensor]:
        """The tensors that a step changes."""
        yield from self.trained.parameters()
        yield from self.trained.buffers()
        yield from self.optimizer.tensors()
        yield from self.average.tensors() if self.average else ()
        yield self.total
        yield from self.changed
