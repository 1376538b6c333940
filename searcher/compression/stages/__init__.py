"""Kinds of stages, by name."""

from typing import Any

from searcher.compression.stages.base import Runner
from searcher.compression.stages.distill import DistillRunner
from searcher.compression.stages.low_rank import LowRankRunner
from searcher.compression.stages.prune_channels import PruneChannelsRunner
from searcher.compression.stages.prune_weights import PruneWeightsRunner
from searcher.compression.stages.quantize import QuantizeRunner
from searcher.compression.stages.quantize_aware import QuantizeAwareRunner
from searcher.compression.stages.ternary import TernaryRunner
from searcher.compression.stages.train import TrainRunner
from searcher.config.recipe import Recipe, Stage

RUNNERS: dict[str, Runner[Any]] = {
    "train": TrainRunner(),
    "distill": DistillRunner(),
    "low_rank": LowRankRunner(),
    "prune_channels": PruneChannelsRunner(),
    "prune_weights": PruneWeightsRunner(),
    "quantize": QuantizeRunner(),
    "quantize_aware": QuantizeAwareRunner(),
    "ternary": TernaryRunner(),
}


def runner(stage: Stage) -> Runner[Any]:
    """The runner of a stage."""
    return RUNNERS[stage.kind]


def stored_stages(recipe: Recipe) -> int:
    """The number of a recipe's first stages whose network can be stored."""
    return next((i for i, stage in enumerate(recipe.stages) if not runner(stage).stored), len(recipe.stages))


def untrained(recipe: Recipe) -> Recipe:
    """The recipe without its training: what it builds has the same shapes and widths."""
    stages = [made for stage in recipe.stages if (made := runner(stage).untrained(stage))]
    return recipe.model_copy(update={"stages": tuple(stages)})
