"""A rehearsal: all of a recipe's stages on its untrained network, before anything is paid for."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import torch

from searcher.compression.cached import identity, is_trained
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.stages import runner
from searcher.compression.training import Run
from searcher.config.recipe import Recipe
from searcher.config.stages.teaching import teaching_of
from searcher.errors import TrialError
from searcher.tasks.base import Task

REHEARSAL_IMAGES = 8
"""Images of each split that a rehearsal sees."""

BEFORE = "in a rehearsal, before any training: "
"""Begins what a rehearsal tells."""

WENT_WELL = ".rehearsed"
"""The suffix of an empty file in the store, named for the recipes whose rehearsal went well."""


def rehearse(recipe: Recipe, task: Task, device: torch.device) -> Network:
    """Take all stages through the untrained network, each training a step long.

    What an engine cannot do with a network is told so in seconds: pruned, it must equal the network with its
    channels masked, and in int8 its own reference, as after the training.

    Args:
        recipe: The recipe.
        task: Its task, of which the first images are used.
        device: Where the trial will train.

    Returns:
        What the stages make of the untrained network, on the CPU.

    Raises:
        TrialError: A stage cannot be executed; says which, and where.
        SearcherError: The model cannot be built.
    """
    try:
        return run_recipe(recipe, Run(few_images(task), 1, 0, device, lambda *progress: None))
    except TrialError as error:
        raise TrialError(f"{BEFORE}{error}") from error


def few_images(task: Task) -> Task:
    """The task with the images that a rehearsal sees."""
    few = REHEARSAL_IMAGES
    return replace(task, train=task.train.first(few), validation=task.validation.first(few))


def rehearse_once(recipe: Recipe, run: Run) -> None:
    """Rehearse what a run is about to train, where no recipe of the same shapes went well before.

    Raises:
        TrialError: As `rehearse` does.
        SearcherError: As `rehearse` does.
    """
    # A teacher may not fit.
    fails = any(runner(stage).compresses or teaching_of(stage) for stage in recipe.stages)
    if not fails or is_trained(recipe, run):
        return
    known = run.store.folder / f"{_outline_digest(recipe)}{WENT_WELL}" if run.store else None
    if known and known.exists():
        return
    rehearse(recipe, run.task, run.device)
    if known:
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()


def _outline_digest(recipe: Recipe) -> str:
    """A name for a recipe without its rates, shares and ratios: what a rehearsal of it depends on."""
    depends = [identity(recipe.model), _without_fractions(recipe.model_dump(mode="json"))]
    text = json.dumps(depends, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _without_fractions(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_fractions(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_fractions(item) for item in value]
    return None if isinstance(value, float) else value
