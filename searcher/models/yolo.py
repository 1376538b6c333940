"""A compact anchor-free YOLO: the backbone and neck of the v5 family (Jocher 2020), one box a cell."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
"""Depth and width multiples."""


class Conv(nn.Sequential):
    """A convolution, batch norm and ReLU, which integer kernels know, where v5 has SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class Bottleneck(nn.Module):
    """Two convolutions, and a shortcut where it is asked for."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.first, self.second = Conv(channels, channels), Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        out = self.second(self.first(images))
        return images + out if self.shortcut else out  # type: ignore[no-any-return]


class C3(nn.Module):
    """A cross-stage partial block: one half of the channels goes through bottlenecks, the other beside."""

    def __init__(self, inputs: int, outputs: int, repeats: int, shortcut: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.through, self.beside = Conv(inputs, half), Conv(inputs, half)
        self.blocks = nn.Sequential(*(Bottleneck(half, shortcut) for _ in range(repeats)))
        self.join = Conv(2 * half, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        parts = [self.blocks(self.through(images)), self.beside(images)]
        return self.join(torch.cat(parts, 1))  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """Spatial pyramid pooling: three max pools in a row, joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze, self.join = Conv(channels, channels // 2), Conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        first = self.squeeze(images)
        second = self.pool(first)
        third = self.pool(second)
        parts = [first, second, third, self.pool(third)]
        return self.join(torch.cat(parts, 1))  # type: ignore[no-any-return]


class YOLO(nn.Module):
    """Three scales, of strides 8, 16 and 32, with a path down and a path up between them."""

    def __init__(self, in_channels: int, classes: int, depth: float, width: float) -> None:
        super().__init__()

        def wide(channels: int) -> int:
            return max(8, math.ceil(channels * width / 8) * 8)

        def deep(repeats: int) -> int:
            return max(1, round(repeats * depth))

        c1, c2, c3, c4, c5 = (wide(c) for c in (64, 128, 256, 512, 1024))
        self.stem = nn.Sequential(Conv(in_channels, c1, 3, 2), Conv(c1, c2, 3, 2), C3(c2, c2, deep(3)))
        self.stage3 = nn.Sequential(Conv(c2, c3, 3, 2), C3(c3, c3, deep(6)))
        self.stage4 = nn.Sequential(Conv(c3, c4, 3, 2), C3(c4, c4, deep(9)))
        self.stage5 = nn.Sequential(Conv(c4, c5, 3, 2), C3(c5, c5, deep(3)), Pyramid(c5))
        self.lateral5, self.down4 = Conv(c5, c4), C3(2 * c4, c4, deep(3), shortcut=False)
        self.lateral4, self.down3 = Conv(c4, c3), C3(2 * c3, c3, deep(3), shortcut=False)
        self.rise3, self.up4 = Conv(c3, c3, 3, 2), C3(2 * c3, c4, deep(3), shortcut=False)
        self.rise4, self.up5 = Conv(c4, c4, 3, 2), C3(2 * c4, c5, deep(3), shortcut=False)
        self.heads = nn.ModuleList(_head(count, 5 + classes) for count in (c3, c4, c5))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, C, H, W) to a map a scale, (N, 5 + classes, h, w), finest first; H and W divide by 32."""
        out3 = self.stage3(self.stem(images))
        out4 = self.stage4(out3)
        low5 = self.lateral5(self.stage5(out4))
        low4 = self.lateral4(self.down4(torch.cat([F.interpolate(low5, scale_factor=2.0), out4], 1)))
        up3 = self.down3(torch.cat([F.interpolate(low4, scale_factor=2.0), out3], 1))
        up4 = self.up4(torch.cat([self.rise3(up3), low4], 1))
        up5 = self.up5(torch.cat([self.rise4(up4), low5], 1))
        head3, head4, head5 = self.heads
        return head3(up3), head4(up4), head5(up5)


def _head(inputs: int, outputs: int) -> nn.Conv2d:
    head = nn.Conv2d(inputs, outputs, 1)
    assert head.bias is not None
    # At first hardly any cell has an object.
    nn.init.constant_(head.bias.detach()[4:], -math.log(0.99 / 0.01))
    return head


def yolo(
    *,
    in_channels: int,
    classes: int,
    size: str = "n",
    depth: float | None = None,
    width: float | None = None,
) -> YOLO:
    """A YOLO of a size, n, s, m, l or x, or of depth and width multiples of its own."""
    if size not in SIZES:
        raise ValueError(f"size: expected one of {', '.join(SIZES)}, got {size!r}")
    deep, wide = SIZES[size]
    return YOLO(in_channels, classes, deep if depth is None else depth, wide if width is None else width)
