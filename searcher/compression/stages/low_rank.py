"""Low-rank factorization: layers become chains of smaller ones, then the network is finetuned."""

from torch import nn

from searcher.compression.engines.low_rank import Rule, by_energy, by_ratio, factorizable, factorize
from searcher.compression.network import Network, floating
from searcher.compression.outlined import NotCertain, Outlined
from searcher.compression.stages.base import EXACT, Runner
from searcher.compression.teaching import finetune, teacher_of
from searcher.compression.training import Run
from searcher.config.recipe import LowRank

RANKS_SHARE = 0.1
"""The share by which figures may be off where the ranks are those of the values that a training has found."""


class LowRankRunner(Runner[LowRank]):
    """Factorizes, then finetunes."""

    def run(self, model: nn.Module, stage: LowRank, run: Run) -> Network:
        """Factorize what gets smaller, then finetune."""
        teacher = teacher_of(stage.teaching, stage, run, model)
        factorize(model.cpu(), _rule(stage), stage.method, stage.layers, run.task.example())
        return floating(finetune(teacher, model, run, stage, "low rank"))

    def predict(self, outlined: Outlined, stage: LowRank) -> None:
        """Trace the network with factors, whose sizes a ratio tells."""
        if stage.ratio is None:
            factorizable(outlined.model, stage.layers)
            raise NotCertain("which ranks keep a share of the energy hangs on the weights")
        outlined.settle()
        factorize(outlined.model, _rule(stage), stage.method, stage.layers)
        outlined.trace()

    def tolerance_of(self, stage: LowRank) -> float:
        """Of ranks by energy, those of other values."""
        return EXACT if stage.ratio else RANKS_SHARE


def _rule(stage: LowRank) -> Rule:
    if stage.ratio is not None:
        return by_ratio(stage.ratio)
    assert stage.energy is not None  # the stage has one of them
    return by_energy(stage.energy)
