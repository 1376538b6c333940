"""A recipe's stages, run one after another."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from searcher.compression.build import start
from searcher.compression.cached import first, kept, longest, recording
from searcher.compression.engines.fx import convert
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.stages.distill import distill
from searcher.compression.stages.prune_channels import prune_channels
from searcher.compression.stages.prune_weights import prune_weights
from searcher.compression.stages.quantize import prepare
from searcher.compression.training import Run, fit
from searcher.config.recipe import Distill, PruneChannels, PruneWeights, Quantize, Recipe, Stage, Train


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
        run: Task, budget, seed and device; with a store, what it has of the recipe is not trained again.
        uncompressed: Called once with the model as it is before the first stage that prunes or quantizes,
            where the store has none of the recipe.

    Raises:
        TrialError: A stage could not be executed as asked.
        SearcherError: The model cannot be built.
    """
    trained = first(recipe, sum(not isinstance(stage, Quantize) for stage in recipe.stages))
    before: list[list[Any]] = []
    run = recording(run, before)
    model, done = longest(trained, run)
    if model is None:
        torch.manual_seed(run.seed)
        model = start(recipe.model, run.task)
    whole = not done
    for count, stage in enumerate(recipe.stages[done:], done + 1):
        if whole and not isinstance(stage, Train | Distill):
            uncompressed(model)
            whole = False
        if isinstance(stage, Quantize):
            run.report("quantize", 0, 1, float("nan"))
            prepared = prepare(model, stage, run)
            return Network(model, convert(model, prepared), prepared)
        model = kept(first(recipe, count), run, partial(_run_stage, model, stage), before)
    return Network(model, model)


def _run_stage(model: nn.Module, stage: Stage, run: Run) -> nn.Module:
    """The model after one more stage, on the CPU and in the order in which the store would return it."""
    # A stage starts with the same random numbers, whatever was trained or found before it.
    torch.manual_seed(run.seed)
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
            raise AssertionError("a quantized model is made anew, from what was trained")
    return model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]
