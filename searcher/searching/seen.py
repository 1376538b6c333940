"""Whether given weights were trained on the validation images, by how well they know them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from searcher.compression.build import start
from searcher.config.recipe import Model
from searcher.tasks.base import Split, Task, device_of
from searcher.tasks.classification.task import Classification

PROBED_IMAGES = 1000
"""Images of each split that are looked at, evenly spread over it."""

MIN_IMAGES = 500
"""Images of a split of which fewer say too little: an honest network may know so few as well as its own."""

KNOWN = 0.95
"""The mean probability of the right class from which on training images are known by heart."""

APART = 2.0
"""Standard errors by which an honest network is surer of the images that it was trained on, at least."""

MAX_STANDARD_ERRORS = 5.0
"""Standard errors by which chance and a search's own choice do not take validation above test."""


@dataclass(frozen=True)
class Familiarity:
    """The mean probabilities of the right classes, and the standard error of their difference."""

    train: float
    validation: float
    error: float

    @property
    def seen(self) -> bool:
        """Whether it knows the validation images as it knows the training images, and those by heart."""
        return self.train >= KNOWN and self.train - self.validation < APART * self.error


def familiarity(network: nn.Module, task: Task) -> Familiarity | None:
    """A classifier's quality on training and validation images, none of them augmented.

    Whoever trains on an image to the end gives its label almost all probability, and less to that of an image
    that was not there: the test of membership by loss of Yeom et al. 2018, of all validation images at once.

    Returns:
        None where the task has no classes, or too few images to tell.
    """
    splits = (task.train, task.validation)
    if not isinstance(task, Classification) or min(map(len, splits)) < MIN_IMAGES:
        return None
    train, validation = (_probabilities(network, task, split) for split in splits)
    error = math.sqrt(float(train.var() / len(train) + validation.var() / len(validation)))
    return Familiarity(float(train.mean()), float(validation.mean()), error)


@torch.no_grad()
def _probabilities(network: nn.Module, task: Task, split: Split) -> Tensor:
    """Of the right class of up to `PROBED_IMAGES` images, (N,) float64."""
    network.eval()
    device = device_of(network)
    places = torch.linspace(0, len(split) - 1, min(PROBED_IMAGES, len(split))).round().long()
    chosen = split.only(places)
    logits = [network(task.normalise(part.to(device))) for part in torch.split(chosen.images, 250)]
    every = torch.cat(logits).double().softmax(1).cpu()
    return every.gather(1, chosen.labels[:, None])[:, 0]


def warning(model: Model, task: Task) -> str:
    """A line where a model's weights are given, and have probably seen the validation images; else empty.

    Raises:
        SearcherError: The weights cannot be read, or do not fit.
    """
    if not model.weights:
        return ""
    with torch.random.fork_rng(devices=[]):
        found = familiarity(start(model, task), task)
    if found is None or not found.seen:
        return ""
    return (
        f"{model.weights}: these weights know the validation images as well as the training images (mean "
        f"probability of the right class {found.validation:.4f} and {found.train:.4f}): they were probably "
        "trained on them, and what is measured on them is too good; searcher retrain reads the test split"
    )


def beyond_test(validation: Mapping[str, float], test: Mapping[str, float], task: Task) -> dict[str, float]:
    """The shares that are larger on validation than on test by more than chance and choice explain.

    Args:
        validation: Figures on the validation split, by key.
        test: Those on the test split.
        task: Of the splits.

    Returns:
        By key, the standard errors between them: of the difference of two shares of so many images.
    """
    a, b = len(task.validation), len(task.test)
    found = {}
    for key in validation.keys() & test.keys():
        whole = (a * validation[key] + b * test[key]) / (a + b)
        error = math.sqrt(whole * (1 - whole) * (1 / a + 1 / b)) if 0 < whole < 1 else math.inf
        apart = (validation[key] - test[key]) / error
        if apart > MAX_STANDARD_ERRORS:
            found[key] = apart
    return found
