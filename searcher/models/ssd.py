"""SSDLite (Sandler et al. 2018): SSD with separable convolutions in its heads, on a MobileNet."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from searcher.models.mobilenet import ConvBN, Separable, scaled, v1_layers, v2_layers

PRIORS = 6
"""Boxes a cell, of `searcher.tasks.detection.heads`."""


class SSD(nn.Module):
    """Maps of several scales with a head on each.

    Args:
        layers: Of the backbone, each with its channels and the stride to there.
        classes: Of objects.
        width: Multiplies the channels of the extra layers.
        finest: The stride of the finest map.
        extras: How many coarser maps follow on the backbone's last, each half as large.
    """

    def __init__(
        self,
        layers: Sequence[tuple[nn.Module, int, int]],
        classes: int,
        width: float,
        finest: int,
        extras: int,
    ) -> None:
        super().__init__()
        last = layers[-1][2]
        if finest not in (8, 16, 32) or finest > last:
            raise ValueError(f"finest: expected a stride of 8, 16 or 32, got {finest}")
        stages, channels = [], []
        start, stride = 0, finest
        while stride <= last:
            # What has this stride last is what a head sees.
            stop = max(i for i, (_, _, s) in enumerate(layers) if s == stride) + 1
            stages.append(nn.Sequential(*(layer for layer, _, _ in layers[start:stop])))
            channels.append(layers[stop - 1][1])
            start, stride = stop, stride * 2
        self.backbone = nn.ModuleList(stages)
        extra = []
        for asked in (512, 256, 256, 128, 128, 128)[:extras]:
            hidden, outputs = scaled(asked / 2, width), scaled(asked, width)
            extra.append(nn.Sequential(ConvBN(channels[-1], hidden, 1), Separable(hidden, outputs, 2)))
            channels.append(outputs)
        self.extras = nn.ModuleList(extra)
        self.heads = nn.ModuleList(_head(count, PRIORS * (5 + classes)) for count in channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) to a map a scale, (N, 6 · (5 + classes), h, w), finest first."""
        maps, out = [], images
        for stage in self.backbone:
            out = stage(out)
            maps.append(out)
        for stage in self.extras:
            out = stage(out)
            maps.append(out)
        return tuple(head(one) for head, one in zip(self.heads, maps, strict=True))


def _head(inputs: int, outputs: int) -> nn.Sequential:
    last = nn.Conv2d(inputs, outputs, 1)
    assert last.bias is not None
    # At first hardly anything is an object: without that the first steps are lost on saying so.
    bias = last.bias.detach().view(PRIORS, -1)
    bias.zero_()
    bias[:, 4] = math.log(0.99 / 0.01)
    return nn.Sequential(ConvBN(inputs, inputs, 3, groups=inputs), last)


def ssd_mobilenet_v1(
    *, in_channels: int, classes: int, width: float = 1.0, finest: int = 16, extras: int = 4
) -> SSD:
    """SSDLite on MobileNetV1."""
    return SSD(v1_layers(in_channels, width), classes, width, finest, extras)


def ssd_mobilenet_v2(
    *, in_channels: int, classes: int, width: float = 1.0, finest: int = 16, extras: int = 4
) -> SSD:
    """SSDLite on MobileNetV2, which for images of 300 pixels has `finest` 16 and four `extras`."""
    return SSD(v2_layers(in_channels, width), classes, width, finest, extras)
