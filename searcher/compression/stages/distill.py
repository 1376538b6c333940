"""Distillation (Hinton et al. 2015): the same training loop with a teacher in the loss."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.build import start
from searcher.compression.network import Network, floating
from searcher.compression.precision import autocast
from searcher.compression.stages.base import Runner
from searcher.compression.step import Loss
from searcher.compression.training import Run, fit
from searcher.config.recipe import Distill, Recipe
from searcher.tasks.base import Batch, Task

TEACHER = "teacher"
"""The stage under which the training of a teacher is reported."""


class DistillRunner(Runner[Distill]):
    """Trains on the labels and on a teacher's outputs."""

    compresses = False

    def run(self, model: nn.Module, stage: Distill, run: Run) -> Network:
        """Train the teacher, then the model."""
        return floating(distill(model, stage, run))


def distill(model: nn.Module, stage: Distill, run: Run) -> nn.Module:
    """Train the teacher, then the model on the labels and on the teacher's outputs."""
    teacher = _teacher(stage, run).to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = distillation_loss(
        run.task, outputs(teacher, run.task, run.device), stage.temperature, stage.weight
    )
    return fit(model, run, stage, "distill", loss=loss)


def _teacher(stage: Distill, run: Run) -> nn.Module:
    """The trained teacher: what a recipe of that model and that training alone would make."""

    def make(inner: Run) -> nn.Module:
        torch.manual_seed(run.seed)
        teacher = start(stage.teacher, run.task)
        torch.manual_seed(run.seed)
        training = stage.teacher_training
        return fit(teacher, inner, training, "train", mixup=training.mixup)

    def report(name: str, epoch: int, epochs: int, accuracy: float) -> None:
        run.report(TEACHER, epoch, epochs, accuracy)

    from searcher.compression.cached import kept  # which asks the runners for their versions

    # What an earlier run has trained of the teacher is no progress of the student's.
    own = replace(run, report=report, replay=lambda *point: None, until=None)
    return kept(Recipe(model=stage.teacher, stages=(stage.teacher_training,)), own, make)


def distillation_loss(task: Task, teach: Callable[[Batch], Any], temperature: float, weight: float) -> Loss:
    """(1 - weight) · the task's loss + weight · the divergence from the teacher, both softened by T."""

    def loss(outputs: Any, batch: Batch) -> Tensor:
        divergence = task.divergence(outputs, teach(batch), temperature)
        return (1 - weight) * task.loss(outputs, batch) + weight * divergence

    return loss


def outputs(teacher: nn.Module, task: Task, device: torch.device) -> Callable[[Batch], Any]:
    """The teacher's outputs for a batch: computed for every image once where no augmentation changes them."""
    if task.augments:
        return torch.no_grad()(lambda batch: teacher(batch.images))
    images = torch.split(task.train.images, 500)
    with torch.no_grad(), autocast(device):
        said = [teacher(task.normalise(part.to(device))) for part in images]
    if isinstance(said[0], Tensor):
        every = torch.cat(said)
        return lambda batch: every[batch.chosen]
    levels = [torch.cat(level) for level in zip(*said, strict=True)]
    return lambda batch: tuple(level[batch.chosen] for level in levels)
