"""What the families of tiny networks are made of, and the frame around their stages."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
}
"""Activations by name; all but silu are executed in int8."""

Norms = Literal["all", "block", "none"]
"""The convolutions that have a batch norm: all; one in each block, and those around blocks; none."""

SQUEEZE = 4
"""How many times fewer channels are inside of a squeeze-excite, and how many there are at least."""


class Convolution(nn.Sequential):
    """A convolution that keeps the size but for its stride, with its batch norm or bias, and its activation.

    Norm and activation stand behind the convolution that they fold into. Without a norm the weights begin as
    He et al. (2015) have it, so that a deep network without any norm trains.

    Raises:
        ValueError: No such activation, or a kernel that leaves pixels out or does not keep the size.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        activation: str | None = None,
    ) -> None:
        if 1 < kernel < stride or (stride == 1 and kernel % 2 == 0):
            raise ValueError(f"no kernel of {kernel} at a stride of {stride}: odd ones at 1, else no smaller")
        conv = nn.Conv2d(
            inputs, outputs, kernel, stride, max(0, kernel - stride + 1) // 2, groups=groups, bias=not norm
        )
        parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
        if norm:
            parts["norm"] = nn.BatchNorm2d(outputs)
        else:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu" if activation else "linear")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        if activation is not None:
            parts["activation"] = activated(activation)
        super().__init__(parts)


def activated(name: str) -> nn.Module:
    """An activation by its name.

    Raises:
        ValueError: No such activation.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r}, expected one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class SqueezeExcite(nn.Module):
    """Every channel times a number that the means of all channels say (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(SQUEEZE, channels // SQUEEZE)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze = Convolution(channels, inner, norm=False, activation="relu")
        self.excite = Convolution(inner, channels, norm=False)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        return x * self.gate(self.excite(self.squeeze(self.pool(x))))  # type: ignore[no-any-return]


class Staged(nn.Module):
    """stem, stage1, stage2, ..., pooling to one pixel, classifier."""

    def __init__(self, stem: nn.Module, stages: Sequence[nn.Module], channels: int, classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.names = [f"stage{i + 1}" for i in range(len(stages))]
        for name, stage in zip(self.names, stages, strict=True):
            self.add_module(name, stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to logits (N, classes)."""
        x = self.stem(x)
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.classifier(torch.flatten(self.pool(x), 1))  # type: ignore[no-any-return]


def check_stages(norms: str, **lists: Sequence[int]) -> None:
    """Refuse arguments that do not fit one another.

    Raises:
        ValueError: Lists of other lengths, or no such placement of norms.
    """
    if len({len(values) for values in lists.values()}) != 1:
        told = ", ".join(f"{len(values)} {name}" for name, values in lists.items())
        raise ValueError(f"{told}: expected as many of each, one a stage")
    if norms not in get_args(Norms):
        raise ValueError(f"norms {norms!r}, expected all, block or none")


def soften(last: Convolution, blocks: int) -> None:
    """Begin a block's last convolution smaller where it has no norm, so that the sum of all does not grow."""
    conv = last.get_submodule("conv")
    if isinstance(conv, nn.Conv2d) and conv.bias is not None:
        conv.weight.data.div_(math.sqrt(blocks))
