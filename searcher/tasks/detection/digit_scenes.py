"""Scenes composed of scikit-learn's real digits, with known boxes: detection that every machine has."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from searcher.tasks.base import Split
from searcher.tasks.classification.digits import digits
from searcher.tasks.detection.annotations import labels
from searcher.tasks.detection.coco_eval import Truth
from searcher.tasks.detection.task import Detection, Scenes

SIDE = 64
COUNTS = (512, 128, 128)
_SEED = 0
_MOST = 4
_SCALES = (2, 3, 4)
_FAINT = 0.25
"""Of the brightest ink, at most that of a pixel beside a stroke."""


class Scene(NamedTuple):
    """One scene.

    Attributes:
        pixels: (SIDE, SIDE) uint8.
        objects: The class and the box (x, y, w, h) of each digit's strokes.
        digits: The class of the digit that has any ink at a pixel, (SIDE, SIDE); -1 where none has.
        strokes: Whether it has more than faint ink there.
    """

    pixels: np.ndarray
    objects: list[tuple[int, list[int]]]
    digits: np.ndarray
    strokes: np.ndarray


def digit_scenes() -> Detection:
    """512 training, 128 validation and 128 test scenes, (1, 64, 64), with 1 to 4 digits of 16 to 32 pixels.

    A split's scenes are composed of the images of the same split of `digits`, so that no digit is in two. The
    background is noise with a gradient; the boxes are those of the strokes.
    """
    categories = [{"id": number + 1, "name": str(number)} for number in range(10)]
    splits = []
    first = 1
    for scenes in drawn():
        ids = list(range(first, first + len(scenes)))
        first += len(scenes)
        truth = _truth(ids, [scene.objects for scene in scenes], categories)
        images = torch.from_numpy(np.stack([scene.pixels for scene in scenes])[:, None])
        splits.append(Scenes(images, labels(truth, ids), torch.tensor(ids), truth))
    return Detection(
        name="digit-scenes",
        classes=10,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        mean=(0.25,),
        std=(0.25,),
        scale=255.0,
        names=tuple(str(number) for number in range(10)),
        flip=False,
        zoom=0.15,
        light=0.2,
    )


def drawn() -> Iterator[list[Scene]]:
    """The scenes for training, for validation and for the test, always the same."""
    known = digits()
    sources = zip(COUNTS, (known.train, known.validation, known.test), strict=True)
    for number, (count, source) in enumerate(sources):
        random = np.random.default_rng([_SEED, number])
        yield [_scene(source, random) for _ in range(count)]


def _scene(source: Split, random: np.random.Generator) -> Scene:
    slope = random.uniform(-1, 1, 2)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE - 0.5
    canvas = 50 + 30 * (slope[0] * x + slope[1] * y) + random.normal(0, 8, (SIDE, SIDE))
    taken = np.zeros((SIDE, SIDE), dtype=bool)
    kinds, strokes = np.full((SIDE, SIDE), -1), np.zeros((SIDE, SIDE), dtype=bool)
    objects = []
    for _ in range(int(random.integers(1, _MOST + 1))):
        number = int(random.integers(len(source)))
        scale = int(random.choice(_SCALES))
        digit = np.kron(source.images[number, 0].numpy(), np.ones((scale, scale))) / 16
        side = len(digit)
        top, left = (int(v) for v in random.integers(0, SIDE - side + 1, 2))
        window = (slice(top, top + side), slice(left, left + side))
        if taken[window].any():
            continue
        taken[window] = True
        canvas[window] = np.maximum(canvas[window], digit * random.uniform(150, 250))
        kind, strokes[window] = int(source.labels[number]), digit > _FAINT
        kinds[window] = np.where(digit > 0, kind, -1)
        rows, columns = np.nonzero(strokes[window])
        box = [left + columns.min(), top + rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        objects.append((kind, [int(v) for v in box]))
    return Scene(canvas.clip(0, 255).astype(np.uint8), objects, kinds, strokes)


def _truth(
    ids: list[int], objects: list[list[tuple[int, list[int]]]], categories: list[dict[str, Any]]
) -> Truth:
    annotations = [
        {"image_id": image, "category_id": kind + 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image, found in zip(ids, objects, strict=True)
        for kind, box in found
    ]
    images = [{"id": i, "file_name": f"{i:05}.png", "width": SIDE, "height": SIDE} for i in ids]
    return Truth(
        {
            "images": images,
            "annotations": [{"id": number, **one} for number, one in enumerate(annotations, 1)],
            "categories": categories,
        }
    )
