"""A recipe's stages, run one after another."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from searcher.compression.build import start
from searcher.compression.cached import first, kept, longest, recording
from searcher.compression.heap import kept_heap
from searcher.compression.network import Network, floating
from searcher.compression.origin import Origin, redrawn
from searcher.compression.stages import runner, stored_stages
from searcher.compression.techniques import check_techniques
from searcher.compression.training import Run
from searcher.config.recipe import Recipe, Stage, Training


@kept_heap()
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
    for stage in recipe.stages:
        if isinstance(stage, Training):
            check_techniques(stage, stage.kind.replace("_", " "), run.task)
    count = stored_stages(recipe)
    before: list[list[Any]] = []
    run = replace(recording(run, before), origin=_origin(recipe, run))
    model, done = longest(first(recipe, count), run)
    if model is None:
        torch.manual_seed(run.seed)
        model = start(recipe.model, run.task)
    whole, network = not done, floating(model)
    for place, stage in enumerate(recipe.stages[done:], done + 1):
        if whole and runner(stage).compresses:
            uncompressed(network.architecture)
            whole = False
        if place <= count:
            make = partial(_run_stored, network.architecture, stage)
            network = floating(kept(first(recipe, place), run, make, before))
        else:
            own = replace(run, prefix=first(recipe, place))
            network = _run_stage(network.architecture, stage, own)
    return network


@kept_heap()
def run_stages(model: nn.Module, stages: Sequence[Stage], run: Run) -> Network:
    """The network that stages make of a model, which may be changed; what comes out is on the CPU.

    Raises:
        TrialError: A stage could not be executed as asked.
    """
    network, run = floating(model), replace(run, origin=_given(model, stages))
    for stage in stages:
        network = _run_stage(network.architecture, stage, run)
    network.architecture.to("cpu")
    return network


def _origin(recipe: Recipe, run: Run) -> Origin:
    """Of a recipe's run; an early epoch of its first training is kept in the store as what it makes is."""
    plain = recipe.model.without_weights()

    def trained(model: nn.Module, early: Run) -> nn.Module:
        return kept(first(recipe, 1), early, partial(_run_stored, model, recipe.stages[0]))

    return Origin(
        recipe.stages,
        partial(start, recipe.model, run.task),
        partial(start, plain, run.task),
        trained,
    )


def _given(model: nn.Module, stages: Sequence[Stage]) -> Origin:
    """Of a run that begins with a network as it is."""
    begun = copy.deepcopy(model)
    return Origin(
        tuple(stages),
        lambda: copy.deepcopy(begun),
        lambda: redrawn(copy.deepcopy(begun)),
        lambda network, early: _run_stage(network, stages[0], early).architecture,
    )


def _run_stage(model: nn.Module, stage: Stage, run: Run) -> Network:
    # A stage starts with the same random numbers, whatever was trained or found before it.
    torch.manual_seed(run.seed)
    return runner(stage).run(model, stage, run)


def _run_stored(model: nn.Module, stage: Stage, run: Run) -> nn.Module:
    """The model after one more stage, on the CPU and in the order in which the store would return it."""
    model = _run_stage(model, stage, run).architecture
    return model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]
