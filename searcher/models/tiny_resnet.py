"""ResNets of few channels (after He et al. 2016)."""

from collections.abc import Sequence

from torch import Tensor, nn

from searcher.models.layers import (
    Convolution,
    Norms,
    SqueezeExcite,
    Staged,
    activated,
    check_stages,
    soften,
)
from searcher.models.resnet import PadShortcut


class TinyBlock(nn.Module):
    """Two 3×3 convolutions, squeeze-excite where it is asked for, and a shortcut around them."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        stride: int,
        activation: str,
        norms: Norms,
        projection: bool,
        squeeze_excite: bool,
    ) -> None:
        super().__init__()
        self.first = Convolution(inputs, channels, 3, stride, norm=norms == "all", activation=activation)
        self.last = Convolution(channels, channels, 3, norm=norms != "none")
        self.scale = SqueezeExcite(channels) if squeeze_excite else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != channels:
            self.shortcut = (
                Convolution(inputs, channels, 1, stride, norm=norms != "none")
                if projection
                else PadShortcut(channels, stride)
            )
        self.activation = activated(activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, H / stride, W / stride)."""
        out = self.scale(self.last(self.first(x)))
        return self.activation(out + self.shortcut(x))  # type: ignore[no-any-return]


def tiny_resnet(
    *,
    in_channels: int = 3,
    classes: int = 10,
    widths: Sequence[int] = (8, 16, 32),
    depths: Sequence[int] = (1, 1, 1),
    stem_stride: int = 1,
    activation: str = "relu",
    norms: Norms = "all",
    projection: bool = False,
    squeeze_excite: bool = False,
) -> Staged:
    """A ResNet of few channels: a 3×3 stem, stages of blocks of two 3×3, from the second on at stride 2.

    Args:
        in_channels: Channels of an input image.
        classes: Number of outputs.
        widths: Channels of each stage; the stem has those of the first.
        depths: Blocks of each stage.
        stem_stride: Stride of the stem, 1 to 3.
        activation: `relu`, `relu6`, `hardswish`, or `silu`, which int8 leaves in floating point.
        norms: Behind `all` convolutions; in a `block` behind its last alone; or `none`, with biases instead.
        projection: Whether shortcuts to other sizes are 1×1 convolutions; else new channels are zeros, which
            costs nothing, but keeps the blocks' channels from being pruned.
        squeeze_excite: Whether every block has one before its sum.

    Raises:
        ValueError: Arguments that do not fit one another.
    """
    check_stages(norms, widths=widths, depths=depths)
    stem = Convolution(in_channels, widths[0], 3, stem_stride, norm=norms != "none", activation=activation)
    channels, stages = widths[0], []
    for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        blocks = []
        for j in range(depth):
            stride = 2 if i and not j else 1
            block = TinyBlock(channels, width, stride, activation, norms, projection, squeeze_excite)
            soften(block.last, sum(depths))
            blocks.append(block)
            channels = width
        stages.append(nn.Sequential(*blocks))
    return Staged(stem, stages, channels, classes)
