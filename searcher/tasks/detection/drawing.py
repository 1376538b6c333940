"""Pictures of detections, as SVG: an image with the boxes that were annotated, and those that were found."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from searcher.tasks.detection.coco_eval import Found, Truth

_WIDTH_PX = 250


def scene(pixels: Tensor, image: int, truth: Truth, names: Sequence[str], found: Sequence[Found]) -> str:
    """An image with its boxes.

    Args:
        pixels: The image, (C, H, W) uint8.
        image: Its id.
        truth: What is annotated.
        names: Of the classes, in the order of the categories.
        found: Detections, also of other images.
    """
    width, height = truth.sizes[image]
    by_category = dict(zip(truth.categories, names, strict=True))
    parts = [f'<image href="{_png(pixels)}" width="{width}" height="{height}" preserveAspectRatio="none"/>']
    for one in truth.instances["annotations"]:
        if one["image_id"] == image:
            parts.append(_rectangle(one["bbox"], width, "truth"))
    seen = [(box, f"{by_category[kind]} {score:.2f}") for of, kind, box, score in found if of == image]
    for box, label in seen:
        parts.append(_rectangle(box, width, "found"))
        size = width / 18
        parts.append(
            f'<text x="{box[0]:.1f}" y="{max(box[1] - size / 4, size):.1f}" '
            f'font-size="{size:.1f}">{html.escape(label)}</text>'
        )
    sizes = f'viewBox="0 0 {width} {height}" width="{_WIDTH_PX}" height="{round(_WIDTH_PX * height / width)}"'
    said = html.escape(f"image {image}: {', '.join(label for _, label in seen) or 'nothing found'}")
    return f'<svg class="scene" role="img" aria-label="{said}" {sizes}>{"".join(parts)}</svg>'


def _rectangle(box: Sequence[float], width: int, kind: str) -> str:
    x, y, w, h = box
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" '
        f'stroke-width="{width / 130:.2f}"/>'
    )


def _png(pixels: Tensor) -> str:
    from PIL import Image

    rows = np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))
    content = io.BytesIO()
    Image.fromarray(rows[:, :, 0] if rows.shape[2] == 1 else rows).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
