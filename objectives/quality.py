"""How good a finished model is."""

from searcher.measure import Measurement


def top1(measurement: Measurement) -> float:
    """Top-1 accuracy of the executed model on the split; between 0 and 1."""
    return measurement.figure("top1")


def average_precision(measurement: Measurement) -> float:
    """AP of the executed model's detections on the split, as COCO has it; between 0 and 1."""
    return measurement.figure("map")


def average_precision_50(measurement: Measurement) -> float:
    """AP of the executed model's detections at an IoU of a half; between 0 and 1."""
    return measurement.figure("map50")


QUALITY = {"top1": top1, "map": average_precision, "map50": average_precision_50}
METRICS = QUALITY
CODE = {"top1": "4d700a3cc1fed810", "map": "244fa5386817df87", "map50": "d4f253f5b86b858e"}
RANGES = dict.fromkeys(METRICS, (0, 1))
