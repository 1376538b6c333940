"""Structured pruning: channels are removed by an engine, then the network is finetuned."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from searcher.compression import origin
from searcher.compression.engines.amount import Amount, check_ratios, check_removed
from searcher.compression.engines.channel_pruning import GRADED, SCORED, Scores
from searcher.compression.network import Network, floating
from searcher.compression.outlined import NotCertain, Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.teaching import finetune, teacher_of
from searcher.compression.training import Run, part_of
from searcher.config.recipe import PruneChannels
from searcher.costs.shapes.outline import returned
from searcher.errors import first_line
from searcher.tasks.base import Batch, Task

CALIBRATION_IMAGES = 256
"""Training images on which a criterion of the activations or gradients looks."""

BATCH = 64


class PruneChannelsRunner(Runner[PruneChannels]):
    """Removes channels, then finetunes."""

    version = 2

    def run(self, model: nn.Module, stage: PruneChannels, run: Run) -> Network:
        """Remove a ratio of the channels but those that the network returns, then finetune."""
        return floating(prune_channels(model, stage, run))

    def predict(self, outlined: Outlined, stage: PruneChannels) -> None:
        """Trace the network with fewer channels."""
        check_ratios(outlined.model, stage.ratios)
        lost = outlined.outline.channels.lost
        if lost:
            raise NotCertain(outlined.reason or f"its channels cannot be followed with certainty: {lost}")
        if stage.scope == "global":
            raise NotCertain("which layer loses how many channels is known when the criterion has chosen")
        before, amount = outlined.widths(), _amount(stage)

        def left(weights: Sequence[int], size: int, blocks: int) -> int:
            return amount.left(outlined.made_by(weights), size, blocks)

        try:
            outlined.shrink(outlined.outline.channels.after(left))
        except Exception as error:
            raise NotCertain(f"its forward does not run with fewer channels: {first_line(error)}") from error
        check_removed(stage.engine, before, outlined.widths(), amount)


def _amount(stage: PruneChannels, part: float = 1.0, had: dict[str, int] | None = None) -> Amount:
    return Amount(stage.ratio, stage.ratios, stage.scope == "global", stage.round_to, part, had or {})


def prune_channels(model: nn.Module, stage: PruneChannels, run: Run) -> nn.Module:
    """Remove a ratio of the channels but those that the network returns, then finetune; in steps."""
    from searcher.compression.engines import nni, torch_pruning

    engine = {"torch-pruning": torch_pruning.prune_channels, "nni": nni.prune_channels}[stage.engine]
    example = run.task.example()
    check_ratios(model, stage.ratios)
    keep = returned(model, tuple(example.shape))
    had = {name: m.out_channels for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    teacher, weights, left = teacher_of(stage.teaching, stage, run, model), origin.weights(stage, run), None
    for step in range(1, stage.steps + 1):
        model = model.cpu()
        amount = _amount(stage, step / stage.steps, had)
        pruned = engine(model, example, amount, stage.criterion, keep, _scores(model, stage, run))
        model, left = pruned.net, pruned.of_what_was_left(left)
        if weights:
            origin.give(model, weights, left)
        epochs = part_of(run.epochs_of(stage.share), step, stage.steps)
        name = f"prune channels {step}/{stage.steps}" if stage.steps > 1 else "prune channels"
        finetune(teacher, model, run, stage, name, epochs=epochs)
    return model


def _scores(model: nn.Module, stage: PruneChannels, run: Run) -> Scores | None:
    """The importance of every channel; None where the criterion is the engine's own."""
    batches = _batches(run.task)
    if stage.criterion in SCORED:
        return SCORED[stage.criterion](model, (batch.images for batch in batches), run.seed)
    if stage.criterion in GRADED:
        return GRADED[stage.criterion](model, batches, run.task.loss)
    return None


def _batches(task: Task) -> Iterator[Batch]:
    """Training images without augmentation, with their labels."""
    split = task.train.first(CALIBRATION_IMAGES)
    for chosen in torch.split(torch.arange(len(split)), BATCH):
        yield Batch(task.normalise(split.images[chosen]), split.labels[chosen], chosen)
