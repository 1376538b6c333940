"""The pixels of `digit-scenes` with their classes: segmentation that every machine has."""

import numpy as np
import torch

from searcher.tasks.base import Split
from searcher.tasks.detection.digit_scenes import Scene, drawn
from searcher.tasks.segmentation.confusion import IGNORED
from searcher.tasks.segmentation.task import Segmentation

NAMES = ("background", *(str(number) for number in range(10)))


def digit_masks() -> Segmentation:
    """The scenes of `digit-scenes`, (1, 64, 64), in 11 classes: the background and the digits' strokes.

    The faint edges of the strokes are ignored.
    """
    train, validation, test = (_split(scenes) for scenes in drawn())
    return Segmentation(
        name="digit-masks",
        classes=len(NAMES),
        train=train,
        validation=validation,
        test=test,
        mean=(0.25,),
        std=(0.25,),
        scale=255.0,
        names=NAMES,
        flip=False,
        zoom=(0.8, 1.25),
    )


def _split(scenes: list[Scene]) -> Split:
    images = torch.from_numpy(np.stack([scene.pixels for scene in scenes])[:, None])
    strokes = np.stack([scene.strokes for scene in scenes])
    digits = np.stack([scene.digits for scene in scenes])
    labels = np.where(strokes, digits + 1, np.where(digits < 0, 0, IGNORED))
    return Split(images, torch.from_numpy(labels.astype(np.uint8)))
