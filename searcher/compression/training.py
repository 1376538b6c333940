"""The one training loop. Distillation is another loss in it; finetuning is it again after a prune."""

import math
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.compression.checkpoint import Checkpoint, Checkpoints
from searcher.compression.memory_format import laid_out
from searcher.compression.store import Store
from searcher.config.recipe import Training
from searcher.config.study import Compile
from searcher.errors import TrialError
from searcher.tasks.base import Batch, Task

Loss = Callable[[Any, Batch], Tensor]
Report = Callable[[str, int, int, float], None]
WARM_UP = 0.1

MIN_WATCHED = 1_000
"""Validation images that an epoch's figure is read on at least; a training on more, on as many as it has."""


@dataclass(frozen=True)
class Run:
    """The context of a stage: task, budget, seed, device, store.

    Attributes:
        epochs: The budget at share 1.
        report: Takes a stage's name, the epochs done and in all, the quality on the validation split.
        checkpoints: With them a run that was killed goes on from its last epoch.
        store: With it, what was trained once is not trained again.
        replay: Takes what `report` does, of epochs that an earlier run has trained.
        compile: How the training's forward and backward passes are compiled.
    """

    task: Task
    epochs: int
    seed: int
    device: torch.device
    report: Report
    checkpoints: Checkpoints | None = None
    store: Store | None = None
    replay: Report = lambda stage, epoch, epochs, accuracy: None
    compile: Compile = "off"

    def epochs_of(self, share: float) -> int:
        """The epochs of a stage of that share."""
        return epochs_of(share, self.epochs)


def epochs_of(share: float, budget: int) -> int:
    """The epochs of a stage: at least one where it has any share at all."""
    return max(1, round(share * budget)) if share else 0


def fit(
    model: nn.Module,
    run: Run,
    training: Training,
    stage: str,
    *,
    loss: Loss | None = None,
    mixup: float = 0.0,
    epochs: int | None = None,
    after_step: Callable[[], None] = lambda: None,
) -> nn.Module:
    """Train a model in place on the training split.

    Args:
        model: The model, on any device; it ends on the run's device in eval mode.
        run: Task, budget, seed and device.
        training: Optimizer, learning rate, weight decay, batch size, share of the budget.
        stage: The name under which progress is reported.
        loss: From the model's outputs and the batch to a scalar; the task's own where it is not given.
        mixup: Alpha of the Beta distribution from which mixing weights are drawn; 0 is off.
        epochs: Instead of the share's epochs.
        after_step: Called after every step of the optimizer.

    Raises:
        TrialError: The loss is no longer a finite number, or mixup is asked of a task without classes.
    """
    task, device = run.task, run.device
    if mixup and not task.mixes:
        raise TrialError(f"{stage}: mixup mixes the classes of images, and task {task.name} has none to mix")
    epochs = run.epochs_of(training.share) if epochs is None else epochs
    with laid_out(model, device) as layout:
        data = task.train.to(device)
        steps = math.ceil(len(data) / training.batch_size)
        # A smoke run on a few images does not spend its time on a whole validation split.
        watched = task.validation.first(max(len(data), MIN_WATCHED))
        optimizer = _optimizer(model, training)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(epochs * steps))
        # Another order and other augmentations in every stage.
        generator = torch.Generator().manual_seed(run.seed * 2**32 + zlib.crc32(stage.encode()))
        checkpoint = run.checkpoints.next(stage) if run.checkpoints else Checkpoint(None)
        parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
        accuracies = _restore(checkpoint, parts, generator)
        # torch.compile brings convolutions to channels_last itself.
        network = compiled(model, run.compile if layout is torch.channels_last else "off")
        for epoch, accuracy in enumerate(accuracies):
            run.replay(stage, epoch + 1, epochs, accuracy)
        for epoch in range(len(accuracies), epochs):
            model.train()
            total = torch.zeros((), device=device)
            order = torch.randperm(len(data), generator=generator).to(device)
            for chosen in torch.split(order, training.batch_size):
                if len(chosen) == 1 < len(data):
                    continue  # batch norm has no variance of a single image of one pixel
                images, targets = task.augment(data.images[chosen], data.labels[chosen], generator)
                images = task.normalise(images).contiguous(memory_format=layout)
                if mixup:
                    images, targets = _mix(images, targets, task.classes, mixup, generator)
                with autocast(device):
                    value = (loss or task.loss)(network(images), Batch(images, targets, chosen))
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                after_step()
                total += value.detach()
            if not torch.isfinite(total):
                raise TrialError(f"{stage}: the loss is {float(total)} in epoch {epoch + 1}; try a lower lr")
            with autocast(device):
                accuracies.append(task.quality(model, watched))
            states = {name: part.state_dict() for name, part in parts.items()}
            checkpoint.save(states | {"generator": generator.get_state(), "accuracies": accuracies})
            run.report(stage, epoch + 1, epochs, accuracies[-1])
    return model.eval()


def _restore(checkpoint: Checkpoint, parts: dict[str, Any], generator: torch.Generator) -> list[float]:
    """Go back to where a training was; returns the validation accuracy of each epoch that is done."""
    state = checkpoint.load()
    if state is None or "accuracies" not in state:
        return []
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    return list(state["accuracies"])


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast where the device computes in bf16."""
    # Where bf16 is emulated it is slower than fp32.
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        fast = available and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def compiled(model: nn.Module, how: Compile) -> nn.Module:
    """The model behind `torch.compile`, with CUDA graphs where they are asked for; itself where it is off."""
    if how == "off":
        return model
    from torch._inductor import config  # a second that an eager training has no use for

    config.compile_threads = 1  # its worker processes would outlive a trial that is stopped
    mode = "reduce-overhead" if how == "cuda-graphs" else "default"
    return torch.compile(model, mode=mode)  # type: ignore[return-value]


def _optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, training.lr, weight_decay=training.weight_decay)
    return torch.optim.SGD(
        parameters, training.lr, momentum=0.9, nesterov=True, weight_decay=training.weight_decay
    )


def _schedule(steps: int) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to zero, as a factor of the learning rate."""
    warm = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor


def _mix(
    images: Tensor, labels: Tensor, classes: int, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """mixup (Zhang et al. 2018): each image with another of the batch, one weight for the batch."""
    # A Beta(a, a) draw from two Gamma draws would ignore the generator; two powered uniforms use it.
    weight = _beta(alpha, generator)
    other = torch.randperm(len(labels), generator=generator).to(labels.device)
    targets = F.one_hot(labels, classes).to(images.dtype)
    return weight * images + (1 - weight) * images[other], weight * targets + (1 - weight) * targets[other]


def _beta(alpha: float, generator: torch.Generator) -> float:
    """A Beta(alpha, alpha) draw by Jöhnk's algorithm, which is exact and quick for alpha ≤ 1."""
    while True:
        u, v = torch.rand(2, generator=generator, dtype=torch.float64).pow(1 / alpha).tolist()
        if 0 < u + v <= 1:
            return float(u / (u + v))
