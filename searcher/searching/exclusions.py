"""Exclusions from int8 that a search begins with: the blocks that bear it worst, by their sensitivity."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import torch

from searcher import tasks
from searcher.compression.training import Run
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.errors import SearcherError, first_line
from searcher.searching.loading import Space
from searcher.searching.sensitivity import measure

MOST = 5
"""Configurations that are tried at most."""

SMALL = 0.1
"""Points that the blocks left in int8 may cost together, each by itself, for no more to be kept out."""

TECHNIQUE = "int8"
"""Of `searcher.searching.techniques`."""

_KEY = "warm_start.sensitivity"


def check_exclusions(study: Study, space: Space) -> None:
    """Refuse a study that wants to begin with exclusions and cannot.

    Raises:
        SearcherError: It has no model that is whole as it came, or the space keeps no blocks out of int8.
    """
    if not (study.warm_start and study.warm_start.sensitivity):
        return
    examined = space.examined
    if examined is None:
        raise SearcherError(f"{_KEY}: space {study.space} makes models of its own: there is none to measure")
    if not examined.whole:
        raise SearcherError(
            f"{_KEY}: model {examined.model.called} is not trained as it comes: give it a file of weights "
            "for all of its layers"
        )
    if not examined.can("quantize"):
        raise SearcherError(f"{_KEY}: the model cannot be in int8: {examined.refused['quantize']}")
    if space.exclusions is None:
        raise SearcherError(
            f"{_KEY}: space {study.space} has no function exclusions(model, kept_out) that returns parameters"
        )
    try:
        for params in _configurations(space, dict.fromkeys(examined.blocks, 1.0)):
            space.suggest(optuna.trial.FixedTrial(params))
    except Exception as error:  # whatever a user's function raises, or returns
        raise SearcherError(f"{_KEY}: exclusions of space {study.space}: {first_line(error)}") from error


def greedy(study: Study, space: Space, runs: Path) -> list[dict[str, Any]]:
    """The parameters of the model as it came in int8 but for its worst blocks: the worst, the two worst, ...

    No more are kept out once the others cost little. What was measured is kept under the runs folder. The
    driver has no context of its own on a GPU, so it is measured on the processor.

    Args:
        study: One that `check_exclusions` lets pass.
        space: Its space.
        runs: The runs folder.

    Raises:
        SearcherError: The network cannot be made.
    """
    assert study.model is not None
    run = Run(tasks.of(study).load(), study.budget.epochs, study.seed, torch.device("cpu"), lambda *_: None)
    found = measure(Recipe(model=study.model, stages=()), run, runs.absolute(), (TECHNIQUE,))
    losses = {effect.block: found.loss(effect) for effect in found.of(TECHNIQUE)}
    return _configurations(space, {block: loss for block, loss in losses.items() if loss is not None})


def _configurations(space: Space, losses: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters for the blocks of these losses, in points."""
    assert space.exclusions is not None
    return [space.exclusions(kept_out) for kept_out in worst_first(losses)]


def worst_first(losses: Mapping[str, float]) -> list[list[str]]:
    """The worst block, the two worst, and so on, until the others cost little; never all of them.

    Args:
        losses: The points that each block costs by itself.
    """
    worst = sorted(losses, key=lambda block: -losses[block])
    found: list[list[str]] = []
    while len(found) < min(MOST, len(worst) - 1):
        if sum(max(losses[block], 0) for block in worst[len(found) :]) <= SMALL:
            break
        found.append(worst[: len(found) + 1])
    return found
