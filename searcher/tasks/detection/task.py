"""Object detection: images with boxes, whole-batch augmentation with them, and COCO's average precision."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.tasks.base import Batch, Figure, Gallery, Split, Task, device_of, shape_words, share
from searcher.tasks.detection import boxes as geometry
from searcher.tasks.detection import drawing, heads
from searcher.tasks.detection.coco_eval import Evaluation, Found, Truth, evaluate
from searcher.wording import several

NMS_CANDIDATES, MAX_DETECTIONS, NMS_IOU, MIN_SCORE = 300, 100, 0.5, 0.01
"""Boxes of an image that suppress each other, that are reported, the IoU for it, and the lowest score."""

SAMPLE_IMAGES = 4
"""Images of the test split that a sample has."""

SHOWN_SCORE = 0.3
"""The score of a detection that a reader is shown, and that another model must have too."""

MIN_VISIBLE_SHARE = 0.4
"""The share of a box that must be left in an image that is moved or enlarged."""


@dataclass(frozen=True)
class Scenes(Split):
    """Images of one size (N, C, H, W) uint8 and their objects (N, M, 5) float32.

    An object is its class, or -1 where there is none, and its box in shares of the image. `truth` has what is
    annotated of the images as they were before they got this size, which is what detections are held against;
    `ids` are the images' in it, (N,).
    """

    ids: Tensor
    truth: Truth

    def first(self, count: int) -> Self:
        """The split's first so many images."""
        return type(self)(self.images[:count], self.labels[:count], self.ids[:count], self.truth)

    def only(self, places: Tensor) -> Self:
        """The split's images at some places, (N,) int64."""
        return type(self)(self.images[places], self.labels[places], self.ids[places], self.truth)


@dataclass(frozen=True)
class Detection(Task):
    """Images with objects of several classes in boxes.

    `flip` is whether images may be mirrored, `zoom` how much larger or smaller they may get, as a share, with
    a translation of as much, `light` how much brighter or darker.
    """

    figure: ClassVar[str] = "AP50"
    metrics: ClassVar[tuple[str, ...]] = ("map", "map50")
    labels: ClassVar[Mapping[str, Figure]] = {
        "map": share("average precision"),
        "map50": share("average precision at IoU 0.5"),
        "map75": share("average precision at IoU 0.75"),
        "map_small": share("average precision, objects below 32² pixels"),
        "map_medium": share("average precision, objects of 32² to 96² pixels"),
        "map_large": share("average precision, objects above 96² pixels"),
        "ar1": share("average recall, 1 detection an image"),
        "ar10": share("average recall, 10 detections an image"),
        "ar100": share("average recall, 100 detections an image"),
        "ar_small": share("average recall, objects below 32² pixels"),
        "ar_medium": share("average recall, objects of 32² to 96² pixels"),
        "ar_large": share("average recall, objects above 96² pixels"),
    }
    by_class: ClassVar[Mapping[str, str]] = {"map": "AP", "map50": "AP50"}
    step_images: ClassVar[int | None] = 16

    names: tuple[str, ...]
    flip: bool
    zoom: float
    light: float

    @property
    def dropped(self) -> Mapping[str, int]:
        """Counts of annotations and images that were left out, by reason."""
        assert isinstance(self.train, Scenes)
        return self.train.truth.dropped

    @property
    def augments(self) -> bool:
        """Whether an image is another one each time that it is trained on."""
        return self.flip or bool(self.zoom) or bool(self.light)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Each image's size, its two moves, its mirroring and its light: (count, 5), between 0 and 1."""
        return torch.rand((count, 5), generator=generator)

    def augment(self, images: Tensor, labels: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Images enlarged, moved, mirrored and lit as drawn, (N, C, H, W) in float32, with their boxes."""
        n, device = len(images), images.device
        wide = 2 * draws - 1
        size, move = 1 + self.zoom * wide[:, :1], self.zoom * wide[:, 1:3]
        sign = torch.where(draws[:, 3:4] < 0.5, -1.0, 1.0) if self.flip else torch.ones(n, 1, device=device)
        # Where each place of the new image is in the old one, from -1 to 1: old = size · sign · new + move.
        matrix = torch.zeros(n, 2, 3, device=device)
        matrix[:, 0, 0], matrix[:, 1, 1] = (size * sign)[:, 0], size[:, 0]
        matrix[:, :, 2] = move
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        light = (1 + self.light * wide[:, 4].view(n, 1, 1, 1)) * images.to(torch.float32)
        moved = F.grid_sample(light, grid, align_corners=False).clamp(0, self.scale)
        corners = labels[..., 1:5].reshape(n, -1, 2) * 2 - 1
        factor = torch.cat([size * sign, size], 1)[:, None]
        corners = (((corners - move[:, None]) / factor + 1) / 2).reshape(n, -1, 4)
        low = torch.minimum(corners[..., :2], corners[..., 2:])
        whole = torch.cat([low, torch.maximum(corners[..., :2], corners[..., 2:])], -1)
        seen = whole.clamp(0, 1)
        kept = geometry.area(seen) >= MIN_VISIBLE_SHARE * geometry.area(whole).clamp(min=1e-9)
        classes = torch.where(kept, labels[..., 0], -1.0)
        return moved, torch.cat([classes[..., None], seen], -1)

    @classmethod
    def misfit(cls, outputs: Any, count: int, classes: int) -> str:
        """Why outputs are no detector's maps, as `heads` reads them, in words; empty where they are."""
        maps = outputs if isinstance(outputs, tuple | list) else ()
        grid, priors = 5 + classes, heads.PRIORS * (5 + classes)
        channels = {one.shape[1] for one in maps if isinstance(one, Tensor) and one.ndim == 4}
        shaped = all(isinstance(one, Tensor) and one.ndim == 4 and len(one) == count for one in maps)
        if shaped and channels in ({grid}, {priors}):
            return ""
        wanted = f"a tuple of maps of {grid} channels (one box a cell) or {priors} ({heads.PRIORS} boxes)"
        return f"returns {shape_words(outputs)} for {count} images, expected {wanted}"

    def outputs(self, sizes: Sequence[tuple[int, ...]]) -> str:
        """Maps, of boxes a priori or of cells of a grid."""
        count = sizes[0][0] // (5 + self.classes)
        # With several boxes a cell a network is read as SSD does, with one as the anchor-free YOLOs.
        boxes, fifth = (
            (f"{count} boxes", "a logit of the background")
            if count > 1
            else ("1 box", "a logit of whether there is an object")
        )
        return (
            f"maps of a grid, finest first, with {boxes} a cell: 4 numbers of its place, {fifth}, and "
            f"{several(self.classes, 'logit')} of classes; `{heads.__name__}.decode` makes boxes and scores "
            "of them"
        )

    def figures(self, model: nn.Module, split: Split) -> dict[str, float]:
        """COCO's figures of a model's detections."""
        return self.evaluate(model, split).figures

    def sample(self, model: nn.Module) -> list[Any]:
        """The surest detections in the first images of the test split."""
        return [list(found) for found in surest(self.detect(model, self.test.first(SAMPLE_IMAGES)))]

    def gallery(self, samples: Mapping[str, Sequence[Any]]) -> Gallery | None:
        """The first images of the test split with detections, the annotated boxes dashed beneath."""
        if not samples or not isinstance(self.test, Scenes):
            return None
        split, rows = self.test.first(SAMPLE_IMAGES), {}
        for name, stored in samples.items():
            found = [Found(one[0], one[1], tuple(one[2]), one[3]) for one in stored]
            caption = f"{name}: {len(found)} detections, of an image at least the surest"
            rows[caption] = [
                drawing.scene(image, int(number), split.truth, self.names, found)
                for image, number in zip(split.images, split.ids, strict=True)
            ]
        note = "The first images of the test split; what is annotated is dashed."
        return Gallery("Detections before and after", note, rows)

    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """The loss of the detector's kind: of boxes a priori, or of a grid."""
        return heads.loss(outputs, batch.targets, self.classes)

    def divergence(self, outputs: Any, taught: Any, temperature: float) -> Tensor:
        """KL divergence of the classes, and distance of the boxes where the teacher sees an object."""
        student, teacher = heads.flatten(outputs, self.classes), heads.flatten(taught, self.classes)
        soft = F.log_softmax(teacher[..., 4:] / temperature, -1)
        own = F.log_softmax(student[..., 4:] / temperature, -1)
        kinds = F.kl_div(own, soft, reduction="none", log_target=True).sum(-1)
        sure = heads.decode(taught, self.classes)[1].amax(-1)
        places = F.smooth_l1_loss(student[..., :4], teacher[..., :4], reduction="none").sum(-1)
        weight = sure.sum().clamp(min=1)
        return ((temperature**2 * kinds + places) * sure).sum() / weight + temperature**2 * kinds.mean()

    def quality(self, model: nn.Module, split: Split) -> float:
        """AP50: average precision at an IoU of a half, the mean over the classes."""
        found = self.evaluate(model, split).map50
        return 0.0 if math.isnan(found) else found

    def agreement(self, one: nn.Module, other: nn.Module, split: Split) -> float:
        """The share of one model's surer detections that another has too: its class, an IoU of a half."""
        return _share_met(self.detect(one, split), self.detect(other, split))

    def compare(self, one: nn.Module, other: nn.Module, split: Split) -> tuple[float, float, float]:
        """AP50 of both, and the share of the one's surer detections that the other has too."""
        assert isinstance(split, Scenes)
        ours, theirs = (self.detect(model, split) for model in (one, other))
        both = (evaluate(split.truth, split.ids.tolist(), found).map50 for found in (ours, theirs))
        first, second = (0.0 if math.isnan(found) else found for found in both)
        return first, second, _share_met(ours, theirs)

    def evaluate(self, model: nn.Module, split: Split) -> Evaluation:
        """COCO's figures of a model's detections."""
        assert isinstance(split, Scenes)
        return evaluate(split.truth, split.ids.tolist(), self.detect(model, split))

    @torch.no_grad()
    def detect(self, model: nn.Module, split: Split, batch_size: int = 32) -> list[Found]:
        """A model's detections on every image of a split, in the pixels of the image as it was annotated."""
        assert isinstance(split, Scenes)
        model.eval()
        device, found = device_of(model), []
        for start in range(0, len(split), batch_size):
            images = split.images[start : start + batch_size].to(device)
            boxes, scores = heads.decode(model(self.normalise(images)), self.classes)
            for place in range(len(images)):
                image = int(split.ids[start + place])
                found += _found(boxes[place].cpu(), scores[place].cpu(), image, split.truth)
        return found


def surest(found: list[Found]) -> list[Found]:
    """Detections of a score that a reader is shown; of an image that has none of them the best one."""
    best: dict[int, float] = {}
    for one in found:
        best[one.image] = max(best.get(one.image, 0.0), one.score)
    return [one for one in found if one.score >= min(SHOWN_SCORE, best[one.image])]


def _share_met(ours: list[Found], theirs: list[Found]) -> float:
    """The share of our surer detections that overlap one of theirs, of the same image and class."""
    sure = surest(ours)
    places = {place: [f for f in theirs if (f.image, f.category) == place] for place in _places(sure)}
    met = [_overlaps(found, places[found.image, found.category]) for found in sure]
    return sum(met) / len(met) if met else 1.0


def _places(found: list[Found]) -> set[tuple[int, int]]:
    return {(one.image, one.category) for one in found}


def _overlaps(one: Found, others: list[Found]) -> bool:
    if not others:
        return False
    boxes = torch.tensor([one.box, *(other.box for other in others)])
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return bool(geometry.iou(corners[:1], corners[1:]).max() >= NMS_IOU)


def _found(boxes: Tensor, scores: Tensor, image: int, truth: Truth) -> list[Found]:
    """The detections of one image, from its boxes (B, 4) and their scores (B, classes)."""
    count = scores.shape[1]
    best, place = scores.flatten().sort(descending=True, stable=True)
    kept = place[:NMS_CANDIDATES][best[:NMS_CANDIDATES] > MIN_SCORE]
    row, kind = kept // count, kept % count
    own, score = boxes[row].clamp(0, 1), scores[row, kind]
    stays = geometry.nms(own, score, kind, NMS_IOU)[:MAX_DETECTIONS]
    width, height = truth.sizes[image]
    pixels = own[stays].double() * torch.tensor([width, height, width, height])
    return [
        Found(image, truth.categories[k], (x1, y1, x2 - x1, y2 - y1), s)
        for k, s, (x1, y1, x2, y2) in zip(
            kind[stays].tolist(), score[stays].tolist(), pixels.tolist(), strict=True
        )
    ]
