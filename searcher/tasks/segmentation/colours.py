"""The colours in which classes of pixels are drawn."""

import torch
from torch import Tensor

from searcher.tasks.segmentation.confusion import IGNORED

_NONE = (224, 224, 192)
"""Of a pixel of no class."""


def palette(classes: int) -> Tensor:
    """A colour for each class, (classes, 3) uint8: Pascal VOC's, by the bits of its number.

    Three bits of a number at a time are those of red, green and blue, from the highest down, so that numbers
    that are near have colours that are far.
    """
    numbers = torch.arange(classes)
    colours = torch.zeros(classes, 3, dtype=torch.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * place + channel) & 1) << (7 - place)
    return colours.to(torch.uint8)


def painted(label: Tensor, classes: int) -> Tensor:
    """The colours of the classes of pixels (H, W), (3, H, W) uint8; light where there is none."""
    every = torch.tensor(_NONE, dtype=torch.uint8).repeat(IGNORED + 1, 1)
    every[:classes] = palette(classes)
    return every[label.long()].permute(2, 0, 1)
