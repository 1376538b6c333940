"""The confusion matrix of a segmentation, and the figures that are read off it."""

import torch
from torch import Tensor

IGNORED = 255
"""The label of a pixel of no class."""


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Pixels by class and predicted class, (classes, classes) int64; a label beyond the classes is ignored.

    Args:
        predicted: A class for each pixel, any shape.
        labels: Its true class, the same shape.
        classes: The number of classes.
    """
    known = labels < classes
    places = labels[known].long() * classes + predicted[known].long()
    return torch.bincount(places, minlength=classes**2).view(classes, classes)


def ious(matrix: Tensor) -> Tensor:
    """The intersection over union of each class, (classes,) float64; NaN of one that is nowhere."""
    counts = matrix.double()
    both = counts.diagonal()
    return both / (counts.sum(0) + counts.sum(1) - both)


def mean_iou(matrix: Tensor) -> float:
    """The mean of the intersections over union of the classes that are anywhere; 0 where none is."""
    found = ious(matrix).nanmean()
    return 0.0 if found.isnan() else float(found)


def pixel_accuracy(matrix: Tensor) -> float:
    """The share of the pixels whose class is predicted; 0 without any pixels."""
    return float(matrix.diagonal().sum() / matrix.sum().clamp(min=1))
