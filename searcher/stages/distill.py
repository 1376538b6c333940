"""Distillation (Hinton et al. 2015): the same training loop with a teacher in the loss."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.recipe import Distill, Recipe
from searcher.stages.kept import kept
from searcher.stages.start import start
from searcher.stages.train import Loss, Run, fit

TEACHER = "teacher"
"""The stage under which the training of a teacher is reported."""


def distill(model: nn.Module, stage: Distill, run: Run) -> nn.Module:
    """Train the teacher, then the model on the labels and on the teacher's outputs."""
    teacher = _teacher(stage, run).to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return fit(model, run, stage, "distill", loss=distillation_loss(teacher, stage.temperature, stage.weight))


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


def distillation_loss(teacher: nn.Module, temperature: float, weight: float) -> Loss:
    """(1 - weight) · cross entropy + weight · T² · KL(teacher || student), both softened by T."""

    def loss(logits: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            soft = F.log_softmax(teacher(images).float() / temperature, 1)
        student = F.log_softmax(logits.float() / temperature, 1)
        divergence = F.kl_div(student, soft, reduction="batchmean", log_target=True)
        return (1 - weight) * F.cross_entropy(logits, targets) + weight * temperature**2 * divergence

    return loss
