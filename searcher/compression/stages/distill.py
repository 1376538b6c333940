"""Distillation: a stage that trains on the labels and by a teacher."""

from torch import nn

from searcher.compression.network import Network, floating
from searcher.compression.stages.base import Runner
from searcher.compression.teaching import finetune, teacher_of
from searcher.compression.training import Run
from searcher.config.recipe import Distill


class DistillRunner(Runner[Distill]):
    """Trains on the labels and by a teacher."""

    version = 2
    compresses = False

    def run(self, model: nn.Module, stage: Distill, run: Run) -> Network:
        """Make the teacher, then train the model."""
        return floating(distill(model, stage, run))


def distill(model: nn.Module, stage: Distill, run: Run) -> nn.Module:
    """Make the teacher, then train the model on the labels and by the teacher."""
    return finetune(teacher_of(stage, stage, run, model), model, run, stage, "distill")
