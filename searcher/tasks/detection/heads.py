"""Decoding of a detector's outputs: boxes and scores of a priori boxes, or of cells of a grid.

A detector returns a tuple of maps, one for each scale, finest first: (N, P · (5 + classes), h, w) for P boxes
a cell. A box has 4 numbers of its place, one logit for whether there is an object, and one for each class.
With several boxes a cell it is read as SSD does, with one as the anchor-free YOLOs do. It is read from the
shapes alone, so an int8 network or an ONNX file needs no code of the family that it came from.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from searcher.tasks.base import constants, one_hot
from searcher.tasks.detection import boxes as geometry

Maps = Sequence[Tensor]
SMALLEST, LARGEST = 0.1, 0.9
RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
PRIORS = len(RATIOS) + 1
"""Boxes a cell of an SSD: one of each ratio, and a larger square."""

_VARIANCES = (0.1, 0.1, 0.2, 0.2)
_MATCHED, _NEGATIVES = 0.5, 3


def flatten(maps: Maps, classes: int) -> Tensor:
    """The boxes of all the maps, (N, boxes, 5 + classes) in float32, scale by scale, row by row."""
    rows = [m.float().permute(0, 2, 3, 1).reshape(len(m), -1, 5 + classes) for m in maps]
    return torch.cat(rows, 1)


def is_grid(maps: Maps, classes: int) -> bool:
    """Whether the maps have one box a cell."""
    return maps[0].shape[1] == 5 + classes


def decode(maps: Maps, classes: int) -> tuple[Tensor, Tensor]:
    """The boxes (N, boxes, 4) in shares of the image, and the scores of their classes (N, boxes, classes)."""
    rows = flatten(maps, classes)
    if is_grid(maps, classes):
        scores = rows[..., 5:].sigmoid() * rows[..., 4:5].sigmoid()
        return grid_boxes(rows[..., :4], cells(maps)), scores
    return prior_boxes(rows[..., :4], priors(maps)), rows[..., 4:].softmax(-1)[..., 1:]


def loss(maps: Maps, labels: Tensor, classes: int) -> Tensor:
    """The sum over the batch's boxes, divided by the objects in it.

    Args:
        maps: The outputs of a detector.
        labels: (N, M, 5 or more): class, or -1 where there is none, and a box in shares of the image.
        classes: Number of classes.
    """
    present = labels[..., 0] >= 0
    if is_grid(maps, classes):
        return _grid_loss(maps, labels, present, classes)
    return _prior_loss(maps, labels, present, classes)


def _centres(one: Tensor) -> Tensor:
    """The centres of a map's cells, row by row, in shares of the image, (cells, 2)."""
    height, width = one.shape[-2:]
    y, x = torch.meshgrid(
        (torch.arange(height, device=one.device) + 0.5) / height,
        (torch.arange(width, device=one.device) + 0.5) / width,
        indexing="ij",
    )
    return torch.stack([x, y], -1).reshape(-1, 2)


# --- boxes a priori: SSD (Liu et al. 2016) ---


def priors(maps: Maps) -> Tensor:
    """The boxes a priori of every scale as (centre x, centre y, width, height), (boxes, 4)."""
    found = []
    count = len(maps)
    sizes = [SMALLEST + (LARGEST - SMALLEST) * k / max(1, count - 1) for k in range(count)] + [1.0]
    for level, one in enumerate(maps):
        size, larger = sizes[level], math.sqrt(sizes[level] * sizes[level + 1])
        shapes = [(size * math.sqrt(r), size / math.sqrt(r)) for r in RATIOS] + [(larger, larger)]
        height, width = one.shape[-2:]
        centres = _centres(one)[:, None].expand(-1, PRIORS, 2)
        flat = [side for shape in shapes for side in shape]
        extents = constants(flat, one.device).view(PRIORS, 2).expand(height * width, PRIORS, 2)
        found.append(torch.cat([centres, extents], -1).reshape(-1, 4))
    return torch.cat(found)


def prior_boxes(places: Tensor, prior: Tensor) -> Tensor:
    """Boxes from their offsets to the boxes a priori, (N, boxes, 4)."""
    scaled = places * constants(_VARIANCES, places.device)
    centre = prior[:, :2] + scaled[..., :2] * prior[:, 2:]
    return geometry.cornered(torch.cat([centre, prior[:, 2:] * scaled[..., 2:].clamp(max=4).exp()], -1))


def prior_offsets(boxes: Tensor, prior: Tensor) -> Tensor:
    """The inverse of `prior_boxes`."""
    wanted = geometry.centred(boxes)
    centre = (wanted[..., :2] - prior[:, :2]) / prior[:, 2:]
    extent = (wanted[..., 2:].clamp(min=1e-4) / prior[:, 2:]).log()
    return torch.cat([centre, extent], -1) / constants(_VARIANCES, boxes.device)


def match(labels: Tensor, present: Tensor, prior: Tensor) -> Tensor:
    """The object that each box a priori stands for, (N, boxes), or -1.

    One with an IoU of at least a half stands for the object that it overlaps most, and each object has the
    box that overlaps it most, whatever that is.
    """
    overlap = geometry.iou(labels[..., 1:5], geometry.cornered(prior)).masked_fill(~present[..., None], -1)
    best, owner = overlap.max(1)
    owner = torch.where(best >= _MATCHED, owner, -1)
    own = overlap.argmax(2)
    for place in range(labels.shape[1]):
        best_prior = own[:, place, None]
        kept = torch.where(present[:, place, None], place, owner.gather(1, best_prior))
        owner = owner.scatter(1, best_prior, kept)
    return owner


def _prior_loss(maps: Maps, labels: Tensor, present: Tensor, classes: int) -> Tensor:
    """Smooth L1 on the offsets, and cross entropy on the classes with three negatives a positive."""
    rows, prior = flatten(maps, classes), priors(maps)
    owner = match(labels, present, prior)
    positive = owner >= 0
    owned = labels.gather(1, owner.clamp(min=0)[..., None].expand(-1, -1, labels.shape[-1]))
    wanted = torch.where(positive, owned[..., 0].long() + 1, 0)
    every = F.cross_entropy(rows[..., 4:].transpose(1, 2), wanted, reduction="none")
    # The negatives that look most like objects.
    hardness = every.detach().masked_fill(positive, -1)
    place = hardness.argsort(1, descending=True).argsort(1)
    count = (_NEGATIVES * positive.sum(1, keepdim=True)).clamp(min=_NEGATIVES)
    chosen = positive | ((place < count) & ~positive)
    offsets = F.smooth_l1_loss(rows[..., :4], prior_offsets(owned[..., 1:5], prior), reduction="none").sum(-1)
    return ((every * chosen).sum() + (offsets * positive).sum()) / positive.sum().clamp(min=1)


# --- cells of a grid: anchor-free, as FCOS (Tian et al. 2019) and the later YOLOs ---


def cells(maps: Maps) -> Tensor:
    """The centre and the extent of every cell, (cells, 4), in shares of the image."""
    found = []
    for one in maps:
        height, width = one.shape[-2:]
        extent = constants([1 / width, 1 / height], one.device).expand(height * width, 2)
        found.append(torch.cat([_centres(one), extent], -1))
    return torch.cat(found)


def grid_boxes(places: Tensor, cell: Tensor) -> Tensor:
    """Boxes from the distances of their sides to the cells' centres, in units of a cell, (N, cells, 4)."""
    distance = F.softplus(places)
    low = cell[:, :2] - distance[..., :2] * cell[:, 2:]
    high = cell[:, :2] + distance[..., 2:] * cell[:, 2:]
    return torch.cat([low, high], -1)


def assign(maps: Maps, labels: Tensor, present: Tensor) -> Tensor:
    """The object that each cell stands for, (N, cells), or -1.

    A cell stands for the smallest object around it that has its centre within one and a half cells, and a
    longer side of 2 to 8 cells; the coarsest scale takes what is longer, the finest what is shorter.
    """
    cell = cells(maps)
    level = torch.cat(
        [
            torch.full((one.shape[-2] * one.shape[-1],), place, device=cell.device)
            for place, one in enumerate(maps)
        ]
    )
    box = geometry.centred(labels[..., 1:5])
    away = ((cell[None, None, :, :2] - box[:, :, None, :2]) / cell[None, None, :, 2:]).abs().amax(-1)
    inside = (cell[:, :2] > labels[..., None, 1:3]).all(-1) & (cell[:, :2] < labels[..., None, 3:5]).all(-1)
    length = (box[:, :, None, 2:] / cell[None, None, :, 2:]).amax(-1)
    fits = ((length >= 2) | (level == 0)) & ((length < 8) | (level == len(maps) - 1))
    fits &= (away < 1.5) & inside & present[..., None]
    extent = geometry.area(labels[..., 1:5])[..., None].masked_fill(~fits, math.inf)
    least, owner = extent.min(1)
    return torch.where(least.isfinite(), owner, -1)


def _grid_loss(maps: Maps, labels: Tensor, present: Tensor, classes: int) -> Tensor:
    """1 - GIoU on the boxes, binary cross entropy on the classes, and on whether there is an object."""
    rows = flatten(maps, classes)
    owner = assign(maps, labels, present)
    positive = owner >= 0
    owned = labels.gather(1, owner.clamp(min=0)[..., None].expand(-1, -1, labels.shape[-1]))
    overlap = geometry.giou(grid_boxes(rows[..., :4], cells(maps)), owned[..., 1:5])
    wanted = one_hot(owned[..., 0].clamp(min=0), classes).to(rows.dtype)
    kinds = F.binary_cross_entropy_with_logits(rows[..., 5:], wanted, reduction="none").sum(-1)
    object_there = F.binary_cross_entropy_with_logits(rows[..., 4], positive.to(rows.dtype), reduction="none")
    return (((2 * (1 - overlap) + kinds) * positive).sum() + object_there.sum()) / positive.sum().clamp(min=1)
