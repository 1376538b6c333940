"""Trainings with a teacher: by its outputs, its layers, or its outputs of fixed views."""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.augmentation import augmentation
from searcher.compression.build import check_weights
from searcher.compression.layers import Watched, attention_loss, feature_loss, projection
from searcher.compression.precision import autocast
from searcher.compression.step import Loss
from searcher.compression.training import Run, fit
from searcher.compression.views import Views, views
from searcher.config.recipe import Recipe, Teaching, Training
from searcher.errors import TrialError
from searcher.tasks.base import Batch, Task

TEACHER = "teacher"
"""The stage under which the training of a teacher is reported."""

Teach = Callable[[Batch], Any]
"""From a batch to a teacher's outputs."""


@dataclass(frozen=True)
class Teacher:
    """A teacher, ready to teach the trainings of a stage.

    Attributes:
        network: On the run's device, in eval mode.
        teaching: What is learned from it.
        run: Task, seed and device of the student's training.
        made: The digest of what it is made by; empty where it is the student as the stage found it.
    """

    network: nn.Module
    teaching: Teaching
    run: Run
    made: str
    _shown: dict[Any, Views] = field(default_factory=dict)

    def fit(self, model: nn.Module, training: Training, stage: str, **others: Any) -> nn.Module:
        """Train a model in place on the labels and by the teacher; `others` are those of `fit`.

        Raises:
            TrialError: As `fit` does, or a layer is not there, or does not fit its counterpart.
        """
        task, teaching = self.run.task, self.teaching
        pairs = (teaching.features, teaching.attention)
        # A stage's random numbers are the same, whether its teacher was trained or found.
        torch.manual_seed(self.run.seed)
        with ExitStack() as watching:
            try:
                student = Watched(model, [ours for pair in pairs for ours in pair], "student")
                teacher = Watched(self.network, [its for pair in pairs for its in pair.values()], "teacher")
                watching.enter_context(student)
                watching.enter_context(teacher)
                projections = _projections(teaching, student, teacher, task)
            except TrialError as error:
                raise TrialError(f"{stage}: {error}") from error
            teach, draws = self._teach(training)
            loss = distillation_loss(task, teach, teaching.temperature, teaching.weight)
            if any(pairs):
                loss = _with_layers(loss, teaching, student, teacher, projections)
            beside = projections if len(projections) else None
            return fit(model, self.run, training, stage, loss=loss, beside=beside, views=draws, **others)

    def _teach(self, training: Training) -> tuple[Teach, Tensor | None]:
        """The teacher's outputs for the batches of a training, and what is drawn for their views."""
        teaching, own = self.teaching, augmentation(training)
        if teaching.views:
            key = (own, training.precision)
            if key not in self._shown:
                self._shown[key] = views(self.network, self.run, *key, teaching.views, self.made)
            return self._shown[key].of, self._shown[key].draws
        changes = self.run.task.augments or own or training.mixup or training.cutmix
        anew = bool(changes or teaching.features or teaching.attention)
        return outputs(self.network, self.run.task, self.run.device, anew=anew), None


def teacher_of(teaching: Teaching | None, training: Training, run: Run, itself: nn.Module) -> Teacher | None:
    """The teacher of a stage; None where it has none, or trains for no epoch.

    Args:
        teaching: What the stage says of it.
        training: The stage.
        run: Task, budget, seed, device and store.
        itself: The network as the stage finds it, which is copied.

    Raises:
        TrialError: It cannot teach this stage, or cannot be made.
        SearcherError: Its model cannot be built, or its weights do not fit.
    """
    if teaching is None or not run.epochs_of(training.share):
        return None
    if teaching.views and (training.mixup or training.cutmix):
        raise TrialError("views are of images, and mixup and cutmix make others of them in each batch")
    network, made = _made(teaching, run) if teaching.teacher else (copy.deepcopy(itself), "")
    on_device = network.to(run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Teacher(on_device.eval(), teaching, run, made)


def finetune(
    teacher: Teacher | None, model: nn.Module, run: Run, training: Training, stage: str, **others: Any
) -> nn.Module:
    """Train a model in place, by a teacher where there is one; `others` are those of `fit`."""
    if teacher:
        return teacher.fit(model, training, stage, **others)
    return fit(model, run, training, stage, **others)


def _made(teaching: Teaching, run: Run) -> tuple[nn.Module, str]:
    """The network that a teacher's model and stages make, before int8, and the digest of it."""
    from searcher.compression.cached import digest, first  # which ask the runners for their versions
    from searcher.compression.pipeline import run_recipe
    from searcher.compression.stages import stored_stages

    assert teaching.teacher is not None
    whole = Recipe(model=teaching.teacher, stages=teaching.made_by())
    recipe = first(whole, stored_stages(whole))
    if not recipe.stages and (new := check_weights([teaching.teacher], run.task.image, run.task.classes)):
        raise TrialError(f"teacher {'; '.join(new)}: give it a teacher_training")

    def report(name: str, epoch: int, epochs: int, accuracy: float) -> None:
        run.report(TEACHER, epoch, epochs, accuracy)

    # What an earlier run has trained of the teacher is no progress of the student's.
    own = replace(run, report=report, replay=lambda *point: None, until=None)
    return run_recipe(recipe, own).architecture, digest(recipe, own)


def distillation_loss(task: Task, teach: Teach, temperature: float, weight: float) -> Loss:
    """(1 - weight) · the task's loss + weight · the divergence from the teacher, both softened by T."""

    def loss(outputs: Any, batch: Batch) -> Tensor:
        divergence = task.divergence(outputs, teach(batch), temperature)
        return (1 - weight) * task.loss(outputs, batch) + weight * divergence

    return loss


def _with_layers(
    loss: Loss, teaching: Teaching, student: Watched, teacher: Watched, projections: nn.ModuleList
) -> Loss:
    """A loss with that of layers, whose outputs it has seen when it is called."""

    def whole(outputs: Any, batch: Batch) -> Tensor:
        total = loss(outputs, batch)
        own, wanted = student.outputs, teacher.outputs
        for project, (ours, theirs) in zip(projections, teaching.features.items(), strict=True):
            total = total + teaching.features_weight * feature_loss(project(own[ours]), wanted[theirs])
        for ours, theirs in teaching.attention.items():
            total = total + teaching.attention_weight * attention_loss(own[ours], wanted[theirs])
        return total

    return whole


def _projections(teaching: Teaching, student: Watched, teacher: Watched, task: Task) -> nn.ModuleList:
    """A projection for each pair of layers whose features are learned.

    Raises:
        TrialError: Layers that do not fit each other.
    """
    own, wanted = student.sizes(task.example()), teacher.sizes(task.example())
    for kind, needed, pairs in (("features", 2, teaching.features), ("attention", 4, teaching.attention)):
        for ours, theirs in pairs.items():
            if len(own[ours]) != len(wanted[theirs]) or len(own[ours]) < needed:
                sizes = " and ".join("×".join(map(str, size[1:])) for size in (own[ours], wanted[theirs]))
                raise TrialError(
                    f"{kind}: the outputs of {ours} and {theirs}, {sizes}, do not fit each other"
                )
    return nn.ModuleList(projection(own[ours], wanted[its]) for ours, its in teaching.features.items())


def outputs(teacher: nn.Module, task: Task, device: torch.device, *, anew: bool) -> Teach:
    """The teacher's outputs for a batch.

    Args:
        teacher: On the device.
        task: Its images.
        device: Of the training.
        anew: Whether each batch is seen; else every image is, once.
    """
    if anew:
        return torch.no_grad()(lambda batch: teacher(batch.images))
    images = torch.split(task.train.images, 500)
    with torch.no_grad(), autocast(device):
        said = [teacher(task.normalise(part.to(device))) for part in images]
    if isinstance(said[0], Tensor):
        every = torch.cat(said)
        return lambda batch: every[batch.chosen]
    levels = [torch.cat(level) for level in zip(*said, strict=True)]
    return lambda batch: tuple(level[batch.chosen] for level in levels)
