"""Distillation (Hinton et al. 2015): the same training loop with a teacher in the loss."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.recipe import Distill, Recipe
from searcher.stages.kept import kept
from searcher.stages.start import start
from searcher.stages.train import Batch, Loss, Run, autocast, fit
from searcher.tasks.classification import Classification

TEACHER = "teacher"
"""The stage under which the training of a teacher is reported."""


def distill(model: nn.Module, stage: Distill, run: Run) -> nn.Module:
    """Train the teacher, then the model on the labels and on the teacher's outputs."""
    teacher = _teacher(stage, run).to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = distillation_loss(outputs(teacher, run.task, run.device), stage.temperature, stage.weight)
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

    # What an earlier run has trained of the teacher is no progress of the student's.
    own = replace(run, report=report, replay=lambda *point: None)
    return kept(Recipe(model=stage.teacher, stages=(stage.teacher_training,)), own, make)


def distillation_loss(teach: Callable[[Batch], Tensor], temperature: float, weight: float) -> Loss:
    """(1 - weight) · cross entropy + weight · T² · KL(teacher || student), both softened by T."""

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        soft = F.log_softmax(teach(batch).float() / temperature, 1)
        student = F.log_softmax(logits.float() / temperature, 1)
        divergence = F.kl_div(student, soft, reduction="batchmean", log_target=True)
        return (1 - weight) * F.cross_entropy(logits, batch.targets) + weight * temperature**2 * divergence

    return loss


def outputs(teacher: nn.Module, task: Classification, device: torch.device) -> Callable[[Batch], Tensor]:
    """What the teacher says of a batch: computed for every image once where no augmentation changes them."""
    if task.augments:
        return torch.no_grad()(lambda batch: teacher(batch.images))
    images = torch.split(task.train.images, 500)
    with torch.no_grad(), autocast(device):
        every = torch.cat([teacher(task.normalise(part.to(device))) for part in images])
    return lambda batch: every[batch.chosen]
