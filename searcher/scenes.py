"""Pictures of detections: images with the boxes that were annotated, and those that a model has found."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from searcher import page
from searcher.tasks.average_precision import Found
from searcher.tasks.detection import Detection, Scenes, surest
from searcher.tasks.task import Task

SHOWN = 4
"""Images of the test split that are shown."""

_SIDE = 250


def detected(task: Task, model: Any) -> list[list[Any]]:
    """What a model finds in the first images of the test split, to be stored."""
    if not isinstance(task, Detection):
        return []
    return [list(found) for found in surest(task.detect(model, task.test.first(SHOWN)))]


def pictures(task: Task, models: Mapping[str, Sequence[Sequence[Any]]]) -> list[Markup]:
    """For each model the images with its detections, the annotated boxes dashed beneath.

    Args:
        task: Where the images are from.
        models: By a name, what `detected` has given of it.
    """
    if not isinstance(task, Detection) or not isinstance(task.test, Scenes):
        return []
    split = task.test.first(SHOWN)
    every = []
    for name, stored in models.items():
        found = [Found(one[0], one[1], tuple(one[2]), one[3]) for one in stored]
        drawn = [_drawn(task, split, place, found) for place in range(len(split))]
        every.append(page.gallery(f"{name}: {len(found)} detections, of an image at least the surest", drawn))
    return every


def _drawn(task: Detection, split: Scenes, place: int, found: Sequence[Found]) -> Markup:
    image = int(split.ids[place])
    width, height = split.truth.sizes[image]
    names = dict(zip(split.truth.categories, task.names, strict=True))
    parts = [
        f'<image href="{_png(split, place)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
    ]
    for one in split.truth.instances["annotations"]:
        if one["image_id"] == image:
            parts.append(_rectangle(one["bbox"], width, "truth"))
    for seen in found:
        if seen.image == image:
            parts.append(_rectangle(seen.box, width, "found"))
            size = width / 18
            label = escape(f"{names[seen.category]} {seen.score:.2f}")
            parts.append(
                f'<text x="{seen.box[0]:.1f}" y="{max(seen.box[1] - size / 4, size):.1f}" '
                f'font-size="{size:.1f}">{label}</text>'
            )
    shown = round(_SIDE * height / width)
    sizes = f'viewBox="0 0 {width} {height}" width="{_SIDE}" height="{shown}"'
    said = [f"{names[one.category]} {one.score:.2f}" for one in found if one.image == image]
    label = escape(f"image {image}: {', '.join(said) or 'nothing found'}")
    return Markup(f'<svg class="scene" role="img" aria-label="{label}" {sizes}>{"".join(parts)}</svg>')


def _rectangle(box: Sequence[float], width: int, kind: str) -> str:
    x, y, w, h = box
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" '
        f'stroke-width="{width / 130:.2f}"/>'
    )


def _png(split: Scenes, place: int) -> str:
    from PIL import Image

    pixels = np.ascontiguousarray(split.images[place].numpy().transpose(1, 2, 0))
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    content = io.BytesIO()
    image.save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
