"""How good a finished model is."""

from searcher.errors import TrialError
from searcher.measure import Measurement
from searcher.tasks.classification import Classification


def top1(measurement: Measurement) -> float:
    """Top-1 accuracy of the executed model on the split; between 0 and 1."""
    task = measurement.task
    if not isinstance(task, Classification):
        raise TrialError(f"top1 is a figure of classes of images, which task {task.name} has not")
    return task.top1(measurement.network.executed, measurement.split)


QUALITY = {"top1": top1}
METRICS = QUALITY
