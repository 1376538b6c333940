"""SwiftNet (Oršić et al. 2019): an encoder for classification and a light decoder that enlarges its maps."""

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.models.mobilenet import scaled, v2_layers

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Residual units of each block of an encoder."""

ENCODERS = (*DEPTHS, "mobilenet_v2")
LEVELS = 3
"""Resolutions of an image that the pyramid variant encodes: full, half and quarter."""

_WIDTHS = (64, 128, 256, 512)


class Norms(nn.ModuleList):
    """Batch norms of the same maps at several resolutions, whose statistics differ."""

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels) for _ in range(levels))

    def forward(self, maps: Tensor, level: int) -> Tensor:
        """(N, C, H, W) by the norm of a level."""
        return self[level](maps)  # type: ignore[no-any-return]


class Unit(nn.Module):
    """A residual unit of two 3×3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int, levels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = Norms(outputs, levels), nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = Norms(outputs, levels), nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride), and the same before its ReLU."""
        out = self.relu1(self.bn1(self.conv1(maps), level))
        out = self.bn2(self.conv2(out), level) + self.shortcut(maps)
        return self.relu2(out), out


class Stem(nn.Module):
    """A 7×7 convolution and a pooling, to a quarter of the image's sides."""

    def __init__(self, inputs: int, outputs: int, levels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 7, 2, 3, bias=False)
        self.bn, self.relu = Norms(outputs, levels), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, images: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to (N, outputs, H / 4, W / 4), twice."""
        out = self.pool(self.relu(self.bn(self.conv(images), level)))
        return out, out


class Residual(nn.Module):
    """A block of residual units, the first of which may halve the map."""

    def __init__(self, inputs: int, outputs: int, stride: int, units: int, levels: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            Unit(outputs if place else inputs, outputs, 1 if place else stride, levels)
            for place in range(units)
        )

    def forward(self, maps: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride), and the same before the last ReLU."""
        skip = maps
        for unit in self.units:
            pair = unit(maps, level)
            maps, skip = pair[0], pair[1]
        return maps, skip


class Inverted(nn.Module):
    """Layers of a MobileNetV2; its norms are those of all resolutions."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2), twice."""
        out = self.layers(maps)
        return out, out


class Encoder(nn.Module):
    """A stem and four blocks, whose maps have strides of 4, 8, 16 and 32.

    Attributes:
        widths: The channels of the blocks' maps.
    """

    def __init__(self, name: str, in_channels: int, width: float, levels: int) -> None:
        super().__init__()
        if name in DEPTHS:
            self.widths: tuple[int, ...] = tuple(max(4, round(channels * width)) for channels in _WIDTHS)
            inputs = (self.widths[0], *self.widths[:3])
            sizes = zip(inputs, self.widths, (1, 2, 2, 2), DEPTHS[name], strict=True)
            self.stem: nn.Module = Stem(in_channels, self.widths[0], levels)
            blocks: list[nn.Module] = [Residual(*size, levels) for size in sizes]
        else:
            inverted = _inverted(in_channels, width)
            self.stem, blocks = inverted[0], [*inverted[1:]]
            self.widths = tuple(scaled(channels, width) for channels in (24, 32, 96, 320))
        self.block1, self.block2, self.block3, self.block4 = blocks

    def forward(self, images: Tensor, level: int = 0) -> list[Tensor]:
        """(N, C, H, W) to the maps of the four blocks, finest first."""
        maps, skips = self.stem(images, level)[0], []
        for block in (self.block1, self.block2, self.block3, self.block4):
            # By their places, for a tracer does not unpack what a module returns that it does not look into.
            pair = block(maps, level)
            maps = pair[0]
            skips.append(pair[1])
        return skips


def _inverted(in_channels: int, width: float) -> list[Inverted]:
    """The layers of a MobileNetV2 but for its last, parted where their stride grows."""
    layers = v2_layers(in_channels, width)[:-1]
    strides = [stride for _, _, stride in layers]
    # The expansion before a stride belongs to what halves the map.
    cuts = [place - 1 for place in range(1, len(layers)) if strides[place] > strides[place - 1]]
    ends = zip([0, *cuts], [*cuts, len(layers)], strict=True)
    return [Inverted(layer for layer, _, _ in layers[start:end]) for start, end in ends]


class NormReluConv(nn.Sequential):
    """Batch norm, ReLU and a convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, bias: bool = False) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)
        super().__init__(nn.BatchNorm2d(inputs), nn.ReLU(), convolution)


class SpatialPyramid(nn.Module):
    """Means over grids of several sizes, beside the map itself."""

    def __init__(self, inputs: int, outputs: int, grids: Sequence[int]) -> None:
        super().__init__()
        part = max(1, outputs // len(grids))
        self.squeeze = NormReluConv(inputs, outputs)
        self.grids = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(grid), NormReluConv(outputs, part)) for grid in grids
        )
        self.join = NormReluConv(outputs + part * len(grids), outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        squeezed = self.squeeze(maps)
        pooled = [enlarged(grid(squeezed), squeezed) for grid in self.grids]
        return self.join(torch.cat([squeezed, *pooled], 1))  # type: ignore[no-any-return]


class Up(nn.Module):
    """Enlarges a map to the size of a finer one, adds that, and blends them by a 3×3 convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.blend = NormReluConv(features, features, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Maps of as many features; the output has the finer one's size."""
        return self.blend(enlarged(coarse, fine) + fine)  # type: ignore[no-any-return]


class SwiftNet(nn.Module):
    """One resolution: the coarsest map goes through a spatial pyramid, and up along lateral connections."""

    def __init__(
        self, encoder: Encoder, classes: int, features: int, grids: Sequence[int], laterals: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        widths = encoder.widths[3 - laterals : 3]
        self.laterals = nn.ModuleList(NormReluConv(width, features) for width in widths)
        self.pyramid = SpatialPyramid(encoder.widths[3], features, grids)
        self.decoder = nn.ModuleList(Up(features) for _ in widths)
        self.head = NormReluConv(features, classes, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes, H, W)."""
        skips = self.encoder(images)
        out = self.pyramid(skips[3])
        for place, (lateral, up) in enumerate(zip(reversed(self.laterals), self.decoder, strict=True)):
            out = up(out, lateral(skips[2 - place]))
        return enlarged(self.head(out), images)


class PyramidSwiftNet(nn.Module):
    """Three resolutions through one encoder; maps of one stride are added on the way up."""

    def __init__(self, encoder: Encoder, classes: int, features: int, laterals: int) -> None:
        super().__init__()
        self.encoder = encoder
        widths = encoder.widths[4 - laterals :]
        self.laterals = nn.ModuleList(nn.Conv2d(width, features, 1, bias=False) for width in widths)
        self.decoder = nn.ModuleList(Up(features) for _ in range(laterals + LEVELS - 2))
        self.head = NormReluConv(features, classes, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes, H, W)."""
        maps: list[list[Tensor]] = [[] for _ in range(len(self.laterals) + LEVELS - 1)]
        level = images
        for number in range(LEVELS):
            skips = self.encoder(level, number)
            for place, lateral in enumerate(self.laterals):
                maps[number + place].append(lateral(skips[4 - len(self.laterals) + place]))
            # Whatever the size, what is half as large is rounded up, as strides of 2 do.
            level = F.avg_pool2d(level, 2, ceil_mode=True) if number + 1 < LEVELS else level
        *finer, coarsest = [reduce(add, every) for every in maps]
        for up, fine in zip(self.decoder, reversed(finer), strict=True):
            coarsest = up(coarsest, fine)
        return enlarged(self.head(coarsest), images)


def enlarged(maps: Tensor, like: Tensor) -> Tensor:
    """Maps in the height and width of others, bilinear."""
    return F.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


def swiftnet(
    *,
    in_channels: int,
    classes: int,
    encoder: str = "resnet18",
    pyramid: bool = False,
    width: float = 1.0,
    features: int = 128,
    grids: Sequence[int] = (8, 4, 2),
    stride: int = 4,
) -> nn.Module:
    """A SwiftNet: a class for each pixel of images of any size.

    Args:
        in_channels: Channels of an image.
        classes: Of the pixels.
        encoder: One of `ENCODERS`.
        pyramid: Whether three resolutions are encoded, and no spatial pyramid pools the last map.
        width: Multiplies the encoder's channels.
        features: Channels of the decoder.
        grids: The sides of the grids over which the spatial pyramid pools.
        stride: Of the decoder's finest map, 4 or 8.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"encoder: expected one of {', '.join(ENCODERS)}, got {encoder!r}")
    if stride not in (4, 8):
        raise ValueError(f"stride: expected 4 or 8, got {stride}")
    made = Encoder(encoder, in_channels, width, LEVELS if pyramid else 1)
    finest = {4: 0, 8: 1}[stride]
    net: nn.Module
    if pyramid:
        net = PyramidSwiftNet(made, classes, features, 4 - finest)
    else:
        net = SwiftNet(made, classes, features, grids, 3 - finest)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net
