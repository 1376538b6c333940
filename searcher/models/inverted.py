"""Inverted residuals (Sandler et al. 2018, Howard et al. 2019) of few channels, with an early stride."""

from collections.abc import Sequence

from torch import Tensor, nn

from searcher.models.layers import Convolution, Norms, SqueezeExcite, Staged, check_stages, soften


class InvertedBlock(nn.Module):
    """Expansion, depthwise convolution, squeeze-excite where it is asked for, projection, and a shortcut.

    Without an expansion there is no first 1×1; the shortcut is where the size stays.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        expansion: int,
        kernel: int,
        stride: int,
        activation: str,
        norms: Norms,
        squeeze_excite: bool,
    ) -> None:
        super().__init__()
        hidden, inner = inputs * expansion, norms == "all"
        self.expand = (
            Convolution(inputs, hidden, norm=inner, activation=activation) if expansion > 1 else nn.Identity()
        )
        self.depthwise = Convolution(hidden, hidden, kernel, stride, hidden, inner, activation)
        self.scale = SqueezeExcite(hidden) if squeeze_excite else nn.Identity()
        self.project = Convolution(hidden, channels, norm=norms != "none")
        self.shortcut = stride == 1 and inputs == channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, channels, H / stride, W / stride)."""
        out: Tensor = self.project(self.scale(self.depthwise(self.expand(x))))
        return x + out if self.shortcut else out


def inverted(
    *,
    in_channels: int = 3,
    classes: int = 10,
    stem: int = 16,
    stem_stride: int = 2,
    widths: Sequence[int] = (12, 16, 24, 40),
    depths: Sequence[int] = (1, 3, 1, 2),
    strides: Sequence[int] = (1, 2, 2, 1),
    expansion: int = 5,
    kernel: int = 5,
    activation: str = "relu",
    norms: Norms = "all",
    squeeze_excite: bool = False,
) -> Staged:
    """Inverted residuals with an early stride: a 3×3 stem, and stages of expanded depthwise convolutions.

    Args:
        in_channels: Channels of an input image.
        classes: Number of outputs.
        stem: Channels of the stem.
        stem_stride: Stride of the stem, 1 to 3.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        strides: Stride of each stage's first block.
        expansion: How many times more channels are inside of a block.
        kernel: Size of the depthwise convolutions, odd.
        activation: `relu`, `relu6`, `hardswish`, or `silu`, which int8 leaves in floating point.
        norms: Behind `all` convolutions; in a `block` behind its last alone; or `none`, with biases instead.
        squeeze_excite: Whether every block has one behind its depthwise convolution.

    Raises:
        ValueError: Arguments that do not fit one another.
    """
    check_stages(norms, widths=widths, depths=depths, strides=strides)
    first = Convolution(in_channels, stem, 3, stem_stride, norm=norms != "none", activation=activation)
    channels, stages = stem, []
    for width, depth, step in zip(widths, depths, strides, strict=True):
        blocks = []
        for j in range(depth):
            stride = 1 if j else step
            block = InvertedBlock(
                channels, width, expansion, kernel, stride, activation, norms, squeeze_excite
            )
            if block.shortcut:
                soften(block.project, sum(depths))
            blocks.append(block)
            channels = width
        stages.append(nn.Sequential(*blocks))
    return Staged(first, stages, channels, classes)
