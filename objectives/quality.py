"""How good a finished model is."""

from searcher.measure import Measurement


def top1(measurement: Measurement) -> float:
    """Top-1 accuracy of the executed model on the split; between 0 and 1."""
    return measurement.task.top1(measurement.network.executed, measurement.split)


QUALITY = {"top1": top1}
METRICS = QUALITY
