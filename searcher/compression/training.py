"""The one training loop. Distillation is another loss in it; finetuning is it again after a prune."""

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from searcher.compression.augmentation import augmentation
from searcher.compression.average import Average
from searcher.compression.checkpoint import Checkpoint, Checkpoints
from searcher.compression.cuda_graphs import Graphed, GraphedModule, recorder, side_stream
from searcher.compression.epoch import PLACE, Randomness, sent
from searcher.compression.feed import feed
from searcher.compression.heap import kept_heap
from searcher.compression.memory_format import laid_out
from searcher.compression.mixing import Mixing
from searcher.compression.optimizer import Optimizer
from searcher.compression.precision import autocast, convolutions_in_fp32
from searcher.compression.schedules import schedule
from searcher.compression.step import Loss, Step
from searcher.compression.store import Store
from searcher.compression.techniques import check_techniques
from searcher.config.recipe import Recipe, Training
from searcher.config.stages.pruning import Pruning
from searcher.config.study import Compile
from searcher.errors import TrialError
from searcher.tasks.base import Task

Report = Callable[[str, int, int, float], None]

VERSION = 3
"""Of the loop's arithmetic and of the order of its random numbers: a new one makes other networks."""

MIN_WATCHED = 1_000
"""Validation images that an epoch's figure is read on at least; a training on more, on as many as it has."""


class Stateful(Protocol):
    """What a training changes beside the model."""

    def tensors(self) -> Iterable[Tensor]:
        """The tensors that a step changes."""

    def state_dict(self) -> Mapping[str, Any]:
        """What a training goes on with."""

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        """Go on with it."""


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
        until: The epochs after which a training stops, as if it was to go on.
        origin: Makes the network whose weights a stage that prunes gives to what it leaves.
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
    until: int | None = None
    origin: Callable[[Pruning, "Run"], nn.Module] | None = None
    prefix: Recipe | None = None

    def epochs_of(self, share: float) -> int:
        """The epochs of a stage of that share."""
        return epochs_of(share, self.epochs)


def epochs_of(share: float, budget: int) -> int:
    """The epochs of a stage: at least one where it has any share at all."""
    return max(1, round(share * budget)) if share else 0


def part_of(epochs: int, step: int, steps: int) -> int:
    """The epochs of one of several trainings that share them, at least one where there are any."""
    return max(min(epochs, 1), epochs * step // steps - epochs * (step - 1) // steps)


@kept_heap()
def fit(
    model: nn.Module,
    run: Run,
    training: Training,
    stage: str,
    *,
    loss: Loss | None = None,
    beside: nn.Module | None = None,
    views: Tensor | None = None,
    epochs: int | None = None,
    after_step: Callable[[], None] = lambda: None,
    besides: Mapping[str, Stateful] = MappingProxyType({}),
) -> nn.Module:
    """Train a model in place on the training split.

    Args:
        model: The model, on any device; it ends on the run's device in eval mode.
        run: Task, budget, seed and device.
        training: Its techniques, and the share of the budget.
        stage: The name under which progress is reported.
        loss: From the model's outputs and the batch to a scalar; the task's own where it is not given.
        beside: What the loss has of its own to be trained.
        views: What was drawn for fixed views of every image, instead of what every epoch would draw.
        epochs: Instead of the share's epochs.
        after_step: Called after every step of the optimizer.
        besides: By name, what `after_step` changes beside the model; checkpoints keep it.

    Raises:
        TrialError: The loss is no longer a finite number, or the task cannot take a technique.
    """
    task, device = run.task, run.device
    check_techniques(training, stage, task)
    epochs = run.epochs_of(training.share) if epochs is None else epochs
    trained = nn.ModuleList([model] if beside is None else [model, beside.to(device)])
    with (
        laid_out(model, device) as layout,
        convolutions_in_fp32(model, device),
        side_stream(device),
    ):
        fed = feed(task.train, device)
        data = fed.split
        # A smoke run on a few images does not spend its time on a whole validation split.
        watched = feed(task.validation.first(max(len(data), MIN_WATCHED)), device).split
        optimizer = Optimizer(trained, training, device)
        average = Average(model, training.ema, device) if training.ema else None
        # Another order and other augmentations in every stage.
        generator = torch.Generator().manual_seed(run.seed * 2**32 + zlib.crc32(stage.encode()))
        checkpoint = run.checkpoints.next(stage) if run.checkpoints else Checkpoint(None)
        every = {"model": model, "optimizer": optimizer, "beside": beside, "average": average, **besides}
        parts: dict[str, Any] = {name: part for name, part in every.items() if part is not None}
        accuracies = _restore(checkpoint, parts, generator, device)
        mixing = Mixing(training.mixup, training.cutmix)
        random = Randomness(task, augmentation(training), mixing, training.batch_size, views)
        step = Step(
            task,
            data,
            trained,
            # torch.compile brings convolutions to channels_last itself.
            compiled(model, run.compile if layout is torch.channels_last else "off"),
            optimizer,
            loss or task.loss,
            random.augmentation,
            random.mixing,
            training.label_smoothing,
            training.precision,
            layout,
            after_step,
            average,
            torch.zeros((), device=device),
            [tensor for part in besides.values() for tensor in part.tensors()],
        )
        graphs = recorder(device)
        train = Graphed(step, stage, graphs, list(trained), step.state)
        evaluated = GraphedModule(model, f"{stage}, validation", graphs)
        batches = _batches(len(data), training.batch_size)
        factor = schedule(training.schedule, epochs * math.ceil(len(data) / training.batch_size))
        for epoch, accuracy in enumerate(accuracies):
            run.replay(stage, epoch + 1, epochs, accuracy)
        for epoch in range(len(accuracies), epochs if run.until is None else min(epochs, run.until)):
            model.train()
            step.total.zero_()
            drawn = random.rows(len(data), generator)
            table = sent(drawn, device)
            sent_ahead = fed.batches(drawn[:, PLACE].long(), batches)
            for place, (batch, images) in enumerate(zip(batches, sent_ahead, strict=True)):
                number = epoch * len(batches) + place
                optimizer.rate.fill_(training.lr * factor(number))
                if average:
                    average.at(number)
                train(table[batch], *images)
            total = float(step.total)
            if not math.isfinite(total):
                raise TrialError(f"{stage}: the loss is {total} in epoch {epoch + 1}; try a lower lr")
            with average.shown() if average else nullcontext(), autocast(device, training.precision):
                accuracies.append(task.quality(evaluated, watched))
            states = {name: part.state_dict() for name, part in parts.items()}
            checkpoint.save(states | _random(generator, device) | {"accuracies": accuracies})
            run.report(stage, epoch + 1, epochs, accuracies[-1])
        # One that stops early goes on from its own weights, and so does who goes back to them.
        if average and run.until is None:
            average.hand_over()
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
