"""COCO's average precision, by pycocotools."""

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np


class Found(NamedTuple):
    """One detection: its image's and category's ids, its box (x, y, width, height) in pixels, its score."""

    image: int
    category: int
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Truth:
    """Annotations as a COCO file has them, and the counts of those that were dropped, by reason.

    Attributes:
        instances: `images`, `annotations` and `categories`.
        dropped: By reason, how many annotations or images were left out.
        numbers: The `id` in `instances` of each image by the id that its file has, as text.
    """

    instances: dict[str, Any]
    dropped: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> dict[int, tuple[int, int]]:
        """The width and the height of each image in pixels, by id."""
        return {image["id"]: (image["width"], image["height"]) for image in self.instances["images"]}

    @cached_property
    def categories(self) -> list[int]:
        """The categories' ids in the order of the classes."""
        return [category["id"] for category in self.instances["categories"]]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The categories' names in the order of the classes."""
        return tuple(category["name"] for category in self.instances["categories"])


@dataclass(frozen=True)
class Evaluation:
    """COCO's figures, between 0 and 1; NaN where nothing is annotated that they are of.

    Attributes:
        map: AP, the mean over IoU thresholds from 0.50 to 0.95 and over the classes.
        map50: AP at an IoU of 0.50.
        map75: AP at an IoU of 0.75.
        small: AP of objects of less than 32² pixels.
        medium: AP of objects between 32² and 96² pixels.
        large: AP of objects of more than 96² pixels.
        ar: AR of at most 1, 10 and 100 detections an image.
        ar_sizes: AR of at most 100, of small, medium and large objects as above.
        classes: AP and AP50 of each class by its name.
    """

    map: float
    map50: float
    map75: float
    small: float
    medium: float
    large: float
    ar: tuple[float, float, float]
    ar_sizes: tuple[float, float, float]
    classes: dict[str, tuple[float, float]]

    @property
    def figures(self) -> dict[str, float]:
        """All of them by name, those of a class, where there are several, as ``map:person``; no NaN."""
        one, ten, hundred = self.ar
        small, medium, large = self.ar_sizes
        classes = self.classes if len(self.classes) > 1 else {}
        every = {
            "map": self.map,
            "map50": self.map50,
            "map75": self.map75,
            "map_small": self.small,
            "map_medium": self.medium,
            "map_large": self.large,
            "ar1": one,
            "ar10": ten,
            "ar100": hundred,
            "ar_small": small,
            "ar_medium": medium,
            "ar_large": large,
            **{f"map:{name}": found for name, (found, _) in classes.items()},
            **{f"map50:{name}": found for name, (_, found) in classes.items()},
        }
        return {name: value for name, value in every.items() if not math.isnan(value)}


def evaluate(truth: Truth, images: Sequence[int], found: Sequence[Found]) -> Evaluation:
    """Hold detections against what is annotated of some of the images.

    Args:
        truth: The annotations.
        images: The ids of the images that were looked at.
        found: What was found in them, at most 100 an image.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        # It adds keys of its own to every annotation.
        own = [dict(one) for one in truth.instances["annotations"]]
        coco.dataset = {**truth.instances, "annotations": own}
        coco.createIndex()
        detected = COCO()
        detected.dataset = {
            "images": truth.instances["images"],
            "categories": truth.instances["categories"],
            "annotations": [
                {
                    "id": number,
                    "image_id": one.image,
                    "category_id": one.category,
                    "bbox": list(one.box),
                    "score": one.score,
                    "area": one.box[2] * one.box[3],
                    "iscrowd": 0,
                }
                for number, one in enumerate(found, 1)
            ],
        }
        detected.createIndex()
        run = COCOeval(coco, detected, "bbox")
        run.params.imgIds = sorted(images)
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = [float(value) if value > -1 else float("nan") for value in run.stats]
    precision = run.eval["precision"]  # thresholds, recalls, classes, areas, detections
    classes = {
        name: (_mean(precision[:, :, k, 0, -1]), _mean(precision[0, :, k, 0, -1]))
        for k, name in enumerate(truth.names)
    }
    ap, ap50, ap75, small, medium, large, *ar = stats
    counts, sizes = (ar[0], ar[1], ar[2]), (ar[3], ar[4], ar[5])
    return Evaluation(ap, ap50, ap75, small, medium, large, counts, sizes, classes)


def _mean(values: np.ndarray) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else float("nan")
