"""Bottleneck DenseNet for small images (Huang et al. 2017), with grouped and depthwise variants."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 1×1 to 4·k channels; batch norm, ReLU, 3×3 to k; concatenated to the input.

    Depthwise: the 3×3 runs on each of the 4·k channels alone and a 1×1 brings them to k.
    """

    def __init__(
        self, channels: int, growth_rate: int, groups_1x1: int, groups_3x3: int, depthwise: bool
    ) -> None:
        super().__init__()
        inner = 4 * growth_rate
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv1 = nn.Conv2d(channels, inner, 1, groups=groups_1x1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.relu2 = nn.ReLU()
        self.conv2: nn.Module
        if depthwise:
            self.conv2 = nn.Sequential(
                OrderedDict(
                    depthwise=nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
                    pointwise=nn.Conv2d(inner, growth_rate, 1, bias=False),
                )
            )
        else:
            self.conv2 = nn.Conv2d(inner, growth_rate, 3, padding=1, groups=groups_3x3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C + k, H, W)."""
        new = self.conv2(self.relu2(self.norm2(self.conv1(self.relu1(self.norm1(x))))))
        return torch.cat([x, new], 1)


class Transition(nn.Sequential):
    """Batch norm, ReLU, 1×1 that reduces the channels, 2×2 average pooling."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(channels),
                relu=nn.ReLU(),
                conv=nn.Conv2d(channels, out_channels, 1, bias=False),
                pool=nn.AvgPool2d(2),
            )
        )


class DenseNet(nn.Module):
    """stem, dense1, trans1, dense2, trans2, ..., a last norm, pooling to one pixel, classifier."""

    def __init__(
        self,
        in_channels: int,
        classes: int,
        growth_rate: int,
        blocks: Sequence[int],
        groups_1x1: int,
        groups_3x3: int,
        depthwise: bool,
    ) -> None:
        super().__init__()
        groups = max(groups_1x1, 1 if depthwise else groups_3x3)
        if growth_rate % groups_1x1 or growth_rate % groups_3x3:
            raise ValueError(f"groups must divide the growth rate {growth_rate}")
        channels = 2 * growth_rate
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        for i, depth in enumerate(blocks):
            layers = [
                DenseLayer(channels + j * growth_rate, growth_rate, groups_1x1, groups_3x3, depthwise)
                for j in range(depth)
            ]
            self.add_module(f"dense{i + 1}", nn.Sequential(*layers))
            channels += depth * growth_rate
            if i < len(blocks) - 1:
                half = channels // 2 // groups * groups
                self.add_module(f"trans{i + 1}", Transition(channels, half))
                channels = half
        self.body = [name for name, _ in self.named_children() if name != "stem"]
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W), H and W multiples of 2^(blocks - 1), to logits (N, classes)."""
        x = self.stem(x)
        for name in self.body:
            x = self.get_submodule(name)(x)
        x = self.pool(self.relu(self.norm(x)))
        return self.classifier(torch.flatten(x, 1))  # type: ignore[no-any-return]


def densenet(
    *,
    in_channels: int = 3,
    classes: int = 10,
    growth_rate: int = 4,
    blocks: Sequence[int] = (6, 12, 24, 16),
    groups_1x1: int = 1,
    groups_3x3: int = 1,
    depthwise: bool = False,
) -> DenseNet:
    """Bottleneck DenseNet: stem of 2·k channels, transitions that halve, no biases but the classifier's.

    Args:
        in_channels: Channels of an input image.
        classes: Number of outputs.
        growth_rate: k, the channels that each layer adds.
        blocks: Layers in each dense block.
        groups_1x1: Groups of the bottleneck's 1×1; divides k.
        groups_3x3: Groups of the 3×3; divides k; without effect when depthwise.
        depthwise: Replace the 3×3 by a depthwise 3×3 and a 1×1.

    Raises:
        ValueError: The groups do not divide the growth rate.
    """
    return DenseNet(in_channels, classes, growth_rate, blocks, groups_1x1, groups_3x3, depthwise)
