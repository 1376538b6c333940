"""Training on the labels."""

from torch import nn

from searcher.compression.network import Network, floating
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train


class TrainRunner(Runner[Train]):
    """Trains on the labels."""

    compresses = False

    def run(self, model: nn.Module, stage: Train, run: Run) -> Network:
        """Train the network."""
        return floating(fit(model, run, stage, "train"))
