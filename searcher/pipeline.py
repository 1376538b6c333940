"""A recipe's stages, run one after another."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from searcher.engines.fx import Prepared, convert
from searcher.recipe import Distill, PruneChannels, PruneWeights, Quantize, Recipe, Train
from searcher.stages.distill import distill
from searcher.stages.prune import prune_channels, prune_weights
from searcher.stages.quantize import prepare
from searcher.stages.start import start
from searcher.stages.train import Run, fit


@dataclass(frozen=True)
class Network:
    """A finished model.

    Attributes:
        architecture: The model in floating point.
        executed: What is executed: the same, or int8.
        prepared: What the int8 model was converted from.
    """

    architecture: nn.Module
    executed: nn.Module
    prepared: Prepared | None = None


def run_recipe(
    recipe: Recipe, run: Run, uncompressed: Callable[[nn.Module], None] = lambda model: None
) -> Network:
    """Build the recipe's model and run its stages; what comes out is on the CPU.

    Args:
        recipe: What to build and run.
        run: Task, budget, seed and device.
        uncompressed: Called once with the model as it is before the first stage that prunes or quantizes.

    Raises:
        TrialError: A stage could not be executed as asked.
        SearcherError: The model cannot be built.
    """
    torch.manual_seed(run.seed)
    task = run.task
    model = start(recipe.model, task)
    executed, prepared = None, None
    whole = True
    for stage in recipe.stages:
        if whole and not isinstance(stage, Train | Distill):
            uncompressed(model)
            whole = False
        match stage:
            case Train():
                model = fit(model, run, stage, "train", mixup=stage.mixup)
            case Distill():
                model = distill(model, stage, run)
            case PruneChannels():
                model = prune_channels(model, stage, run)
            case PruneWeights():
                model = prune_weights(model, stage, run)
            case Quantize():
                run.report("quantize", 0, 1, float("nan"))
                prepared = prepare(model, stage, run)
                executed = convert(model, prepared)
    model = model.cpu()
    return Network(model, executed or model, prepared)
