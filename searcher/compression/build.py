"""The model that a run begins with: built for the task, with random or with given weights."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from searcher.compression.engines.initial_weights import initialise
from searcher.compression.engines.new_head import output_layers
from searcher.config.recipe import Model
from searcher.errors import SearcherError, first_line
from searcher.models import build
from searcher.tasks.base import Task, device_of


def start(model: Model, task: Task) -> nn.Module:
    """Build a model for a task, and load its weights where it names a file.

    Raises:
        SearcherError: The model cannot be built, its outputs are not the task's, or the file does not fit it.
    """
    network = build(model.name, model.args, in_channels=task.in_channels, classes=task.classes)
    if device_of(network).type != "meta":  # where its shapes alone are wanted
        check_outputs(model.called, network, type(task), task.image, task.classes)
    if model.weights:
        _initialise(network, model.weights, task.image)
    return network


def check_weights(models: Iterable[Model], image: tuple[int, ...], classes: int) -> list[str]:
    """Try every file of weights that models name.

    Returns:
        A line for each layer that is not the file's, but new: one of another number of classes.

    Raises:
        SearcherError: A file does not fit, or a model with one cannot be built.
    """
    new: list[str] = []
    with torch.random.fork_rng(devices=[]):
        for model in models:
            if model.weights:
                network = build(model.name, model.args, in_channels=image[0], classes=classes)
                new += _initialise(network, model.weights, image)
    return list(dict.fromkeys(new))


def _initialise(network: nn.Module, weights: str, image: tuple[int, ...]) -> list[str]:
    return initialise(network, Path(weights).expanduser(), partial(output_layers, network, (1, *image)))


def check_outputs(
    name: str,
    network: nn.Module,
    kind: type[Task],
    image: tuple[int, ...],
    classes: int,
    device: str = "cpu",
) -> None:
    """Run a network on two images without values, and leave it as it was.

    Args:
        name: Of its family, for the message.
        network: On the device.
        kind: Of the task.
        image: Channels, height and width.
        classes: Of the task.
        device: Where it runs; "meta" where shapes are enough.

    Raises:
        SearcherError: It does not run, or its outputs are none that the task can be learned from.
    """
    was_training = {module: module.training for module in network.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs = network.eval()(torch.zeros((2, *image), device=device))
    except Exception as error:
        sizes = "×".join(map(str, image))
        raise SearcherError(f"model {name} does not run on images of {sizes}: {first_line(error)}") from error
    finally:
        for module, training in was_training.items():
            module.training = training
    misfit = kind.misfit(outputs, 2, classes)
    if misfit:
        raise SearcherError(f"model {name} {misfit}")
