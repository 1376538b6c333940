"""MobileNetV1 (Howard et al. 2017) and V2 (Sandler et al. 2018): classifiers, and detectors' backbones."""

from torch import Tensor, nn

_V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repeats, stride of the first."""

LEAST = 8


def scaled(channels: float, width: float) -> int:
    """The channels of a layer at a width multiplier: a multiple of 8, and not 10 % below what was asked."""
    asked = channels * width
    rounded = max(LEAST, int(asked + LEAST / 2) // LEAST * LEAST)
    return rounded + LEAST if rounded < 0.9 * asked else rounded


class ConvBN(nn.Sequential):
    """A convolution, batch norm, and ReLU6 where it is asked for."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        parts = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            *([nn.ReLU6()] if relu else []),
        ]
        super().__init__(*parts)


class Separable(nn.Sequential):
    """A depthwise convolution and a pointwise one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(ConvBN(inputs, inputs, 3, stride, groups=inputs), ConvBN(inputs, outputs, 1))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection, and a shortcut around them."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = ConvBN(channels, hidden, 1)
        self.depthwise = ConvBN(hidden, hidden, 3, groups=hidden)
        self.project = ConvBN(hidden, channels, 1, relu=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        return images + self.project(self.depthwise(self.expand(images)))  # type: ignore[no-any-return]


def v1_layers(in_channels: int, width: float) -> list[tuple[nn.Module, int, int]]:
    """The layers of a MobileNetV1, each with its output channels and the stride to there."""
    channels, stride = scaled(32, width), 2
    layers: list[tuple[nn.Module, int, int]] = [(ConvBN(in_channels, channels, 3, 2), channels, stride)]
    for asked, step in _V1:
        before, channels, stride = channels, scaled(asked, width), stride * step
        layers.append((Separable(before, channels, step), channels, stride))
    return layers


def v2_layers(in_channels: int, width: float) -> list[tuple[nn.Module, int, int]]:
    """The layers of a MobileNetV2, each with its output channels and the stride to there.

    A block without a shortcut is two: its expansion, which SSDLite takes for its map, and the rest.
    """
    channels, stride = scaled(32, width), 2
    layers: list[tuple[nn.Module, int, int]] = [(ConvBN(in_channels, channels, 3, 2), channels, stride)]
    for expansion, asked, repeats, first in _V2:
        for repeat in range(repeats):
            before, channels, step = channels, scaled(asked, width), first if repeat == 0 else 1
            if step == 1 and before == channels and expansion > 1:
                layers.append((InvertedResidual(channels, expansion), channels, stride))
                continue
            hidden = before * expansion
            if expansion > 1:
                layers.append((ConvBN(before, hidden, 1), hidden, stride))
            stride *= step
            reduced = ConvBN(hidden, hidden, 3, step, groups=hidden), ConvBN(hidden, channels, 1, relu=False)
            layers.append((nn.Sequential(*reduced), channels, stride))
    last = scaled(1280, max(width, 1.0))
    return [*layers, (ConvBN(channels, last, 1), last, stride)]


class MobileNet(nn.Module):
    """A classifier on the layers of a MobileNet."""

    def __init__(self, layers: list[tuple[nn.Module, int, int]], classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*(layer for layer, _, _ in layers))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(layers[-1][1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, classes)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))  # type: ignore[no-any-return]


def mobilenet_v1(*, in_channels: int, classes: int, width: float = 1.0) -> MobileNet:
    """A MobileNetV1; `width` multiplies the channels."""
    return MobileNet(v1_layers(in_channels, width), classes)


def mobilenet_v2(*, in_channels: int, classes: int, width: float = 1.0) -> MobileNet:
    """A MobileNetV2; `width` multiplies the channels."""
    return MobileNet(v2_layers(in_channels, width), classes)
