"""A recipe's stages, run one after another."""

from dataclasses import dataclass

import torch
from torch import nn

from searcher.models import build
from searcher.recipe import Distill, PruneChannels, PruneWeights, Quantize, Recipe, Train
from searcher.stages.distill import distill
from searcher.stages.prune import prune_channels, prune_weights
from searcher.stages.quantize import quantize
from searcher.stages.train import Run, fit


@dataclass(frozen=True)
class Network:
    """A finished model: its architecture in floating point, and what is executed (the same, or int8)."""

    architecture: nn.Module
    executed: nn.Module


def run_recipe(recipe: Recipe, run: Run) -> Network:
    """Build the recipe's model and run its stages; what comes out is on the CPU.

    Raises:
        TrialError: A stage could not be executed as asked.
        SearcherError: The model cannot be built.
    """
    torch.manual_seed(run.seed)
    task = run.task
    model = build(recipe.model.name, recipe.model.args, in_channels=task.in_channels, classes=task.classes)
    executed = None
    for stage in recipe.stages:
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
                executed = quantize(model, stage, run)
    model = model.cpu()
    return Network(model, executed or model)
