"""The one training loop. Distillation is another loss in it; finetuning is it again after a prune."""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from searcher.compression.checkpoint import Checkpoint, Checkpoints
from searcher.compression.cuda_graphs import Graphed, GraphedModule, recorder, side_stream
from searcher.compression.epoch import PLACE, rows, sent
from searcher.compression.feed import feed
from searcher.compression.memory_format import laid_out
from searcher.compression.optimizer import Optimizer, schedule
from searcher.compression.precision import autocast, narrow_convolutions_in_fp32
from searcher.compression.step import Loss, Step
from searcher.compression.store import Store
from searcher.config.recipe import Recipe, Training
from searcher.config.study import Compile
from searcher.errors import TrialError
from searcher.tasks.base import Task

Report = Callable[[str, int, int, float], None]

VERSION = 2
"""Of the loop's arithmetic and of the order of its random numbers: a new one makes other networks."""

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
        prefix: The recipe up to the stage that runs, where the stage itself stores what it trains.
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
    prefix: Recipe | None = None

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
    with (
        laid_out(model, device) as layout,
        narrow_convolutions_in_fp32(model, device),
        side_stream(device),
    ):
        fed = feed(task.train, device)
        data = fed.split
        # A smoke run on a few images does not spend its time on a whole validation split.
        watched = feed(task.validation.first(max(len(data), MIN_WATCHED)), device).split
        optimizer = Optimizer(model, training, device)
        # Another order and other augmentations in every stage.
        generator = torch.Generator().manual_seed(run.seed * 2**32 + zlib.crc32(stage.encode()))
        checkpoint = run.checkpoints.next(stage) if run.checkpoints else Checkpoint(None)
        parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
        accuracies = _restore(checkpoint, parts, generator, device)
        # torch.compile brings convolutions to channels_last itself.
        network = compiled(model, run.compile if layout is torch.channels_last else "off")
        step = Step(
            task,
            data,
            model,
            network,
            optimizer,
            loss or task.loss,
            bool(mixup),
            layout,
            after_step,
            torch.zeros((), device=device),
        )
        graphs = recorder(device)
        train = Graphed(step, stage, graphs, [model], step.state)
        evaluated = GraphedModule(model, f"{stage}, validation", graphs)
        batches = _batches(len(data), training.batch_size)
        factor = schedule(epochs * math.ceil(len(data) / training.batch_size))
        for epoch, accuracy in enumerate(accuracies):
            run.replay(stage, epoch + 1, epochs, accuracy)
        for epoch in range(len(accuracies), epochs):
            model.train()
            step.total.zero_()
            drawn = rows(task, len(data), training.batch_size, mixup, generator)
            table = sent(drawn, device)
            sent_ahead = fed.batches(drawn[:, PLACE].long(), batches)
            for place, (batch, images) in enumerate(zip(batches, sent_ahead, strict=True)):
                optimizer.rate.fill_(training.lr * factor(epoch * len(batches) + place))
                train(table[batch], *images)
            total = float(step.total)
            if not math.isfinite(total):
                raise TrialError(f"{stage}: the loss is {total} in epoch {epoch + 1}; try a lower lr")
            with autocast(device):
                accuracies.append(task.quality(evaluated, watched))
            states = {name: part.state_dict() for name, part in parts.items()}
            checkpoint.save(states | _random(generator, device) | {"accuracies": accuracies})
            run.report(stage, epoch + 1, epochs, accuracies[-1])
        optimizer.release()
    return model.eval()


def _batches(images: int, batch_size: int) -> list[slice]:
    """The rows of each step of an epoch."""
    starts = range(0, images, batch_size)
    batches = [slice(start, min(start + batch_size, images)) for start in starts]
    # Batch norm has no variance of a single image of one pixel.
    return [batch for batch in batches if batch.stop - batch.start > 1 or images == 1]


def _random(generator: torch.Generator, device: torch.device) -> dict[str, Any]:
    """The states of all the random generators that a training uses: a network's own dropout has torch's."""
    cuda = {"cuda random": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"generator": generator.get_state(), "random": torch.get_rng_state(), **cuda}


def _restore(
    checkpoint: Checkpoint, parts: dict[str, Any], generator: torch.Generator, device: torch.device
) -> list[float]:
    """Go back to where a training was; returns the validation accuracy of each epoch that is done."""
    state = checkpoint.load()
    if state is None or "random" not in state:
        return []
    for name, part in parts.items():
        part.load_state_dict(state[name])
    generator.set_state(state["generator"])
    torch.set_rng_state(state["random"])
    if device.type == "cuda" and "cuda random" in state:
        torch.cuda.set_rng_state(state["cuda random"], device)
    return list(state["accuracies"])


def compiled(model: nn.Module, how: Compile) -> nn.Module:
    """The model behind `torch.compile`; itself where that is off."""
    if how == "off":
        return model
    from torch._inductor import config  # a second that an eager training has no use for

    config.compile_threads = 1  # its worker processes would outlive a trial that is stopped
    return torch.compile(model)  # type: ignore[return-value]
