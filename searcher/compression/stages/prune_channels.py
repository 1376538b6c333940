"""Structured pruning: channels are removed by an engine, then the network is finetuned."""

import torch
from torch import nn

from searcher.compression.engines.channel_pruning import SCORED, check_removed
from searcher.compression.network import Network, floating
from searcher.compression.outlined import NotCertain, Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run, fit
from searcher.config.recipe import PruneChannels
from searcher.costs.shapes.outline import returned
from searcher.errors import first_line

CALIBRATION_IMAGES = 256
"""Training images on which a criterion of the activations looks."""


class PruneChannelsRunner(Runner[PruneChannels]):
    """Removes channels, then finetunes."""

    version = 2

    def run(self, model: nn.Module, stage: PruneChannels, run: Run) -> Network:
        """Remove a ratio of the channels but those that the network returns, then finetune."""
        return floating(prune_channels(model, stage, run))

    def predict(self, outlined: Outlined, stage: PruneChannels) -> None:
        """Trace the network with fewer channels."""
        lost = outlined.outline.channels.lost
        if lost:
            raise NotCertain(outlined.reason or f"its channels cannot be followed with certainty: {lost}")
        before = outlined.width()
        try:
            outlined.shrink(outlined.outline.channels.after(stage.ratio))
        except Exception as error:
            raise NotCertain(f"its forward does not run with fewer channels: {first_line(error)}") from error
        check_removed(stage.engine, before, outlined.width(), stage.ratio)


def prune_channels(model: nn.Module, stage: PruneChannels, run: Run) -> nn.Module:
    """Remove a ratio of the channels but those that the network returns, then finetune."""
    from searcher.compression.engines import nni, torch_pruning

    engines = {"torch-pruning": torch_pruning.prune_channels, "nni": nni.prune_channels}
    example = run.task.example()
    keep = returned(model, tuple(example.shape))
    given = None
    if stage.criterion in SCORED:
        images = torch.split(run.task.train.images[:CALIBRATION_IMAGES], 64)
        batches = (run.task.normalise(part) for part in images)
        given = SCORED[stage.criterion](model.cpu(), batches, run.seed)
    small = engines[stage.engine](model.cpu(), example, stage.ratio, stage.criterion, keep, given)
    return fit(small, run, stage, "prune channels")
