"""EfficientNet-B0 (Tan and Le 2019), for the counts that were published of it."""

from torch import Tensor, nn

STAGES = (
    # expansion, channels, layers, stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.swish = nn.SiLU()
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.swish(self.reduce(self.pool(x)))))


def unit(channels: int, out: int, kernel: int, stride: int, groups: int = 1, swish: bool = True) -> nn.Module:
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), *([nn.SiLU()] if swish else []))


class Block(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.body = nn.Sequential(
            *([unit(channels, inner, 1, 1)] if expansion > 1 else []),
            unit(inner, inner, kernel, stride, inner),
            SqueezeExcite(inner, channels // 4),
            unit(inner, out, 1, 1, swish=False),
        )
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.residual else self.body(x)


def efficientnet_b0() -> nn.Module:
    """For images (N, 3, 224, 224) and 1,000 classes."""
    layers, channels = [unit(3, 32, 3, 2)], 32
    for expansion, out, depth, stride, kernel in STAGES:
        for i in range(depth):
            layers.append(Block(channels, out, kernel, 1 if i else stride, expansion))
            channels = out
    return nn.Sequential(
        *layers, unit(320, 1280, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)
    )
