"""The network of a stored trial, made again of what the store has trained."""

from pathlib import Path

import torch

from searcher import tasks
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.deploy.retrain import device_at_hand
from searcher.errors import SearcherError, TrialError
from searcher.execution.layout import STORE


def remake(study: Study, recipe: Recipe, runs: Path, fingerprint: str) -> Network:
    """The network that a trial has measured; what the store has not is trained, as the trial did.

    Args:
        study: The stored study.
        recipe: The trial's.
        runs: The runs folder.
        fingerprint: Of the data on which it was searched.

    Raises:
        SearcherError: The data or the model is gone or has changed, or the recipe cannot be made any more.
    """
    task = tasks.of(study).load()
    if task.fingerprint != fingerprint:
        raise SearcherError(f"the data of {study.stored_name} has changed since it was searched")
    run = Run(
        task.trained_on(study.budget.train_images),
        study.budget.epochs,
        study.seed,
        device_at_hand(),
        lambda *progress: None,
        store=Store(runs / STORE) if study.store else None,
        compile=study.compile,
    )
    try:
        with torch.random.fork_rng(devices=[]):
            return run_recipe(recipe, run)
    except TrialError as error:
        raise SearcherError(f"{recipe.words()} cannot be made again: {error}") from error
