"""Tries a model and a user's own metrics before any training: the task's outputs, and numbers."""

from collections.abc import Sequence

import torch

from searcher.compression.build import check_outputs, start
from searcher.compression.network import Network
from searcher.config.metric import Metric
from searcher.config.recipe import Model
from searcher.errors import SearcherError, TrialError
from searcher.execution.measurement import Measurement, NotFinite, measure
from searcher.execution.metrics import timed
from searcher.models import build
from searcher.tasks.base import Task
from searcher.tasks.entries import Entry

_FEW = 8
"""Images on which a user's own metrics are tried."""


def check_model(model: Model, task: str, entry: Entry, *, runs: bool = True) -> None:
    """Run a model without its weights: on shapes, or where it wants values, as it is.

    Args:
        model: The model.
        task: The task's name.
        entry: The task.
        runs: Whether one that does not run is refused; its trials fail before they train.

    Raises:
        SearcherError: It cannot be built, does not run, or has other outputs than the task's.
    """
    for device in ("meta", "cpu"):
        with torch.device(device), torch.random.fork_rng(devices=[]):
            network = build(model.name, model.args, in_channels=entry.image[0], classes=entry.classes)
        try:
            check_outputs(model.called, network, entry.kind, entry.image, entry.classes, device)
        except SearcherError as error:
            ran = error.__cause__ is None
            if not ran and device == "cpu" and not runs:
                return
            if ran or device == "cpu":
                raise SearcherError(f"task {task}: {error}") from error
        else:
            return


def try_metrics(metrics: Sequence[Metric], model: Model, task: Task) -> None:
    """Let a user's own metrics look at a network that is not trained, and at a few images.

    Raises:
        SearcherError: One of them would fail in every trial. What only such a network may cause (a division
            by a quality of zero) is passed over.
    """
    metrics = [m for m in metrics if not timed([m])]
    if not metrics:
        return
    with torch.random.fork_rng(devices=[]):
        network = start(model.without_weights(), task).eval()
    looked_at = Measurement(Network(network, network), task, task.validation.first(_FEW))
    for metric in metrics:
        try:
            measure(looked_at, [metric])
        except (ArithmeticError, NotFinite):
            continue
        except Exception as error:
            said = "" if isinstance(error, TrialError) else f"metric {metric.key}: {type(error).__name__}: "
            raise SearcherError(f"{said}{error}, tried on a network that is not trained") from error
