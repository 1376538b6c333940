"""ResNets for 32×32 images (He et al. 2016): 20 and 56 with option-A shortcuts, and 18."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PadShortcut(nn.Module):
    """Option A: every second pixel, new channels filled with zeros; no parameters."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, H / stride, W / stride)."""
        x = x[:, :, :: self.stride, :: self.stride]
        extra = self.channels - x.shape[1]
        return F.pad(x, (0, 0, 0, 0, extra // 2, extra - extra // 2))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, option_a: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Sequential()
        elif option_a:
            self.shortcut = PadShortcut(channels, stride)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(out + self.shortcut(x))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """A 3×3 stem, one layer a width (the first at stride 1, the others at 2), pooling, linear."""

    def __init__(
        self, in_channels: int, classes: int, widths: Sequence[int], depths: Sequence[int], option_a: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU()
        channels = widths[0]
        layers = []
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = []
            for j in range(depth):
                blocks.append(BasicBlock(channels, width, 2 if i and not j else 1, option_a))
                channels = width
            layers.append(nn.Sequential(*blocks))
        self.names = [f"layer{i + 1}" for i in range(len(layers))]
        for name, layer in zip(self.names, layers, strict=True):
            self.add_module(name, layer)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to logits (N, classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.linear(torch.flatten(self.pool(x), 1))  # type: ignore[no-any-return]


def resnet18(*, in_channels: int = 3, classes: int = 10) -> ResNet:
    """ResNet-18 for CIFAR: widths 64 to 512, projection shortcuts; the imt-2022 reference."""
    return ResNet(in_channels, classes, (64, 128, 256, 512), (2, 2, 2, 2), option_a=False)


def resnet20(*, in_channels: int = 3, classes: int = 10) -> ResNet:
    """ResNet-20 for CIFAR: widths 16, 32, 64, option-A shortcuts."""
    return ResNet(in_channels, classes, (16, 32, 64), (3, 3, 3), option_a=True)


def resnet56(*, in_channels: int = 3, classes: int = 10) -> ResNet:
    """ResNet-56 for CIFAR: widths 16, 32, 64, option-A shortcuts."""
    return ResNet(in_channels, classes, (16, 32, 64), (9, 9, 9), option_a=True)
