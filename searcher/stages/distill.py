"""Distillation (Hinton et al. 2015): the same training loop with a teacher in the loss."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.recipe import Distill
from searcher.stages.start import start
from searcher.stages.train import Loss, Run, fit


def distill(model: nn.Module, stage: Distill, run: Run) -> nn.Module:
    """Train the teacher, then the model on the labels and on the teacher's outputs."""
    task = run.task
    torch.manual_seed(run.seed)
    teacher = start(stage.teacher, task)
    fit(teacher, run, stage.teacher_training, "teacher", mixup=stage.teacher_training.mixup)
    return fit(model, run, stage, "distill", loss=distillation_loss(teacher, stage.temperature, stage.weight))


def distillation_loss(teacher: nn.Module, temperature: float, weight: float) -> Loss:
    """(1 - weight) · cross entropy + weight · T² · KL(teacher || student), both softened by T."""

    def loss(logits: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            soft = F.log_softmax(teacher(images).float() / temperature, 1)
        student = F.log_softmax(logits.float() / temperature, 1)
        divergence = F.kl_div(student, soft, reduction="batchmean", log_target=True)
        return (1 - weight) * F.cross_entropy(logits, targets) + weight * temperature**2 * divergence

    return loss
