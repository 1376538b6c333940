"""The colours in which classes of pixels are drawn."""

import torch
from torch import Tensor

from searcher.tasks.segmentation.confusion import IGNORED

_GREY = 40


def palette(classes: int) -> Tensor:
    """A colour for each class, (classes, 3) uint8: Pascal VOC's, by the bits of its number from 1 on.

    Three bits of a number at a time are those of red, green and blue, from the highest down, so that numbers
    that are near have colours that are far.
    """
    numbers = torch.arange(1, classes + 1)
    colours = torch.zeros(classes, 3, dtype=torch.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= (numbers >> (3 * place + channel) & 1) << (7 - place)
    return colours.to(torch.uint8)


def painted(label: Tensor, classes: int) -> Tensor:
    """The colours of the classes of pixels (H, W), (3, H, W) uint8; grey where there is none."""
    every = torch.full((IGNORED + 1, 3), _GREY, dtype=torch.uint8)
    every[:classes] = palette(classes)
    return every[label.long()].permute(2, 0, 1)
