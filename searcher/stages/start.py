"""The model that a run begins with: built for the task, with random or with given weights."""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from searcher.engines.initial import initialise
from searcher.models import build
from searcher.recipe import Distill, Model, Recipe
from searcher.tasks.task import Task


def start(model: Model, task: Task) -> nn.Module:
    """Build a model for a task, and load its weights where it names a file.

    Raises:
        SearcherError: The model cannot be built, or the file does not fit it.
    """
    return _begun(model, task.in_channels, task.classes)


def check_weights(recipes: Iterable[Recipe], in_channels: int, classes: int) -> None:
    """Try every file of weights that recipes name, each once with its model.

    Raises:
        SearcherError: A file does not fit, or a model with one cannot be built.
    """
    stages = [
        (recipe.model, *(s.teacher for s in recipe.stages if isinstance(s, Distill))) for recipe in recipes
    ]
    with torch.random.fork_rng(devices=[]):
        for model in {m.model_dump_json(): m for models in stages for m in models if m.weights}.values():
            _begun(model, in_channels, classes)


def _begun(model: Model, in_channels: int, classes: int) -> nn.Module:
    network = build(model.name, model.args, in_channels=in_channels, classes=classes)
    if model.weights:
        initialise(network, Path(model.weights).expanduser())
    return network
