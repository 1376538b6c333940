"""Boxes as (x1, y1, x2, y2), in shares of the image's width and height or in pixels."""

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """The areas of boxes (..., 4); 0 where a side is negative."""
    return _product((boxes[..., 2:] - boxes[..., :2]).clamp(min=0))


def _product(sides: Tensor) -> Tensor:
    """Width times height, (..., 2); the gradient of `prod` would wait for a GPU."""
    return sides[..., 0] * sides[..., 1]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of each of a (..., A, 4) with each of b (..., B, 4): (..., A, B)."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    both = _product((high - low).clamp(min=0))
    return both / (area(a)[..., :, None] + area(b)[..., None, :] - both).clamp(min=1e-9)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of pairs of boxes (..., 4), between -1 and 1 (Rezatofighi et al. 2019)."""
    both = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    shared = _product(both)
    union = (area(a) + area(b) - shared).clamp(min=1e-9)
    hull = _product(torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2]))
    return shared / union - (hull - union) / hull.clamp(min=1e-9)


def centred(boxes: Tensor) -> Tensor:
    """(x1, y1, x2, y2) to (centre x, centre y, width, height)."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def cornered(boxes: Tensor) -> Tensor:
    """(centre x, centre y, width, height) to (x1, y1, x2, y2)."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def nms(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression: boxes that none of their class, with a higher score, overlaps.

    Args:
        boxes: (N, 4).
        scores: (N,).
        classes: (N,); boxes of different classes do not suppress each other.
        threshold: The IoU above which a box is suppressed.

    Returns:
        The places of those that stay, the best score first.
    """
    order = scores.argsort(descending=True, stable=True)
    overlap = iou(boxes[order], boxes[order]) > threshold
    overlap &= classes[order][:, None] == classes[order][None]
    suppressing = overlap.triu(1).numpy()
    stays = torch.ones(len(order), dtype=torch.bool)
    for place in range(len(order)):
        if stays[place]:
            stays[torch.from_numpy(suppressing[place])] = False
    return order[stays]
