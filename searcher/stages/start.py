"""The model that a run begins with: built for the task, with random or with given weights."""

from pathlib import Path

from torch import nn

from searcher.engines import weights
from searcher.models import build
from searcher.recipe import Model
from searcher.tasks.task import Task


def start(model: Model, task: Task) -> nn.Module:
    """Build a model for a task, and load its weights where it names a file.

    Raises:
        SearcherError: The model cannot be built, or the file does not fit it.
    """
    network = build(model.name, model.args, in_channels=task.in_channels, classes=task.classes)
    if model.weights:
        weights.initialise(network, Path(model.weights).expanduser())
    return network
