"""Gated blocks in the manner of ConvNeXt (Liu et al. 2022) with gated linear units (Dauphin et al. 2017)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from searcher.models.layers import Convolution, Norms, SqueezeExcite, Staged, check_stages, soften


class Mixer(nn.Module):
    """Depthwise convolutions, a kernel for each equal share of the channels; 1 leaves its share as it is."""

    def __init__(self, channels: int, kernels: Sequence[int], norm: bool) -> None:
        super().__init__()
        if not kernels or channels % len(kernels):
            raise ValueError(f"{channels} channels cannot be shared by {len(kernels)} kernels")
        share = channels // len(kernels)
        self.shares = len(kernels)
        self.parts = nn.ModuleList(
            Convolution(share, share, kernel, groups=share, norm=norm) if kernel > 1 else nn.Identity()
            for kernel in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        if self.shares == 1:
            return self.parts[0](x)  # type: ignore[no-any-return]
        shares = torch.chunk(x, self.shares, 1)
        return torch.cat([part(shares[i]) for i, part in enumerate(self.parts)], 1)


class GatedBlock(nn.Module):
    """Depthwise convolutions, a 1×1 times another that is activated, a 1×1, and a shortcut around all."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        kernels: Sequence[int],
        activation: str,
        norms: Norms,
        squeeze_excite: bool,
    ) -> None:
        super().__init__()
        every = norms == "all"
        self.mix = Mixer(channels, kernels, norms != "none")
        self.gate = Convolution(channels, hidden, norm=every, activation=activation)
        self.value = Convolution(channels, hidden, norm=every)
        self.scale = SqueezeExcite(hidden) if squeeze_excite else nn.Identity()
        self.project = Convolution(hidden, channels, norm=every)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        mixed = self.mix(x)
        return x + self.project(self.scale(self.gate(mixed) * self.value(mixed)))  # type: ignore[no-any-return]


class Halving(nn.Module):
    """2×2 average pooling and a 1×1 to other channels."""

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(2)
        self.project = Convolution(inputs, outputs, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        return self.project(self.pool(x))  # type: ignore[no-any-return]


def gated(
    *,
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (24, 40),
    depths: Sequence[int] = (3, 3),
    stem_kernel: int = 3,
    stem_stride: int = 2,
    kernels: Sequence[int] = (5,),
    expansion: float = 1.0,
    activation: str = "hardswish",
    norms: Norms = "block",
    squeeze_excite: bool = False,
) -> Staged:
    """Gated blocks: depthwise convolutions, a 1×1 times an activated 1×1, and a 1×1; stages halve the size.

    Args:
        in_channels: Channels of an input image.
        classes: Number of outputs.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        stem_kernel: Size of the stem's kernel; that of its stride makes patches.
        stem_stride: Stride of the stem.
        kernels: Sizes of the depthwise kernels, odd, each for an equal share of the channels; 1 leaves its
            share as it is. When channels are pruned, a block with such a share keeps those of its output, and
            one of several shares without it is refused.
        expansion: Channels of the gate, as a multiple of the block's.
        activation: `relu`, `relu6`, `hardswish`, or `silu`, which int8 leaves in floating point.
        norms: Behind `all` convolutions; in a `block` behind the depthwise ones alone; or `none`, with
            biases instead.
        squeeze_excite: Whether every block has one behind the product.

    Raises:
        ValueError: Arguments that do not fit one another.
    """
    check_stages(norms, widths=widths, depths=depths)
    around = norms != "none"
    stem = Convolution(in_channels, widths[0], stem_kernel, stem_stride, norm=around)
    channels, stages = widths[0], []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks: list[nn.Module] = [Halving(channels, width, around)] if i else []
        for _ in range(depth):
            hidden = max(1, round(width * expansion))
            block = GatedBlock(width, hidden, kernels, activation, norms, squeeze_excite)
            soften(block.project, sum(depths))
            blocks.append(block)
        stages.append(nn.Sequential(*blocks))
        channels = width
    return Staged(stem, stages, channels, classes)
