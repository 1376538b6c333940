"""Pictures of images and of the classes of their pixels, as SVG."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_WIDTH_PX = 250
_SHOWN_CLASSES = 20


def picture(pixels: Tensor, said: str) -> str:
    """An image (C, H, W) uint8, and what a reader who does not see it is told."""
    height, width = pixels.shape[1:]
    sizes = f'viewBox="0 0 {width} {height}" width="{_WIDTH_PX}" height="{round(_WIDTH_PX * height / width)}"'
    rows = np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))
    content = _png(rows[:, :, 0] if rows.shape[2] == 1 else rows)
    image = f'<image href="data:image/png;base64,{content}" width="{width}" height="{height}"/>'
    return f'<svg class="scene" role="img" aria-label="{html.escape(said)}" {sizes}>{image}</svg>'


def packed(classes: Tensor) -> str:
    """Classes of pixels (H, W) as a PNG file in base64."""
    return _png(classes.to(torch.uint8).numpy())


def unpacked(content: str) -> Tensor:
    """Classes of pixels (H, W) uint8 from what `packed` has made of them."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(content))) as opened:
        return torch.from_numpy(np.array(opened))


def legend(names: Sequence[str], colours: Tensor) -> list[str]:
    """The first classes' names, each with its colour (classes, 3)."""
    return [
        f'<svg class="scene" role="img" aria-label="{html.escape(name)}" viewBox="0 0 {_WIDTH_PX} 24" '
        f'width="{_WIDTH_PX}" height="24"><rect width="24" height="24" '
        f'style="fill: rgb({",".join(map(str, colour))})"/>'
        f'<text x="32" y="17" font-size="15">{html.escape(name)}</text></svg>'
        for name, colour in list(zip(names, colours.tolist(), strict=True))[:_SHOWN_CLASSES]
    ]


def _png(rows: np.ndarray) -> str:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(rows).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
