"""Networks that both engines for structured pruning prune as it is predicted, and others."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, forward: Callable[[Any, Tensor], Any], **modules: Any) -> None:
        super().__init__()
        self.run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def conv(i: int, o: int, k: Any = 1, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, **options)


def between(function: Callable[[Any, Tensor], Any], width: int = 8, **modules: Any) -> Callable[[], Net]:
    """A function between two convolutions, and one more that reads the last."""
    return lambda: Net(
        lambda s, x: s.z(s.y(function(s, s.a(x)))),
        a=conv(3, 8, 3), y=conv(width, 8), z=conv(8, 4), **copy.deepcopy(modules),
    )  # fmt: skip


def head(function: Callable[[Any, Tensor], Any], length: int = 8, **modules: Any) -> Callable[[], Net]:
    """A function between a convolution and a linear layer."""
    return lambda: Net(
        lambda s, x: s.h(function(s, s.a(x))),
        a=conv(3, 8, 3), h=nn.Linear(length, 5), **copy.deepcopy(modules),
    )  # fmt: skip


def pool(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1)


def two(function: Callable[[Any, Tensor, Tensor], Any], width: int = 8, **modules: Any) -> Callable[[], Net]:
    """A function of two convolutions' outputs."""
    return lambda: Net(
        lambda s, x: s.z(s.y(function(s, s.a(x), s.b(x)))),
        a=conv(3, 8), b=conv(3, 8), y=conv(width, 8), z=conv(8, 4), **copy.deepcopy(modules),
    )  # fmt: skip


def bottleneck(s: Any, x: Tensor, name: str) -> Tensor:
    """An inverted residual block of MobileNetV2."""
    e, d, p = (getattr(s, f"{name}{part}") for part in "edp")
    return p(F.relu6(d(F.relu6(e(x)))))


ACTIVATIONS = """
    ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Sigmoid Tanh Hardtanh Hardswish Hardsigmoid Softplus
    Softsign LogSigmoid PReLU Dropout Dropout2d Identity
"""

SAME: dict[str, Callable[[], nn.Module]] = {
    **{name: between(lambda s, x: s.act(x), act=getattr(nn, name)()) for name in ACTIVATIONS.split()},
    "in place": between(lambda s, x: s.act(x), act=nn.ReLU(inplace=True)),
    "max pool": between(lambda s, x: F.max_pool2d(x, 3, 2, 1)),
    "avg pool": between(lambda s, x: F.avg_pool2d(x, 3, 2, 1)),
    "avg pool by name": between(lambda s, x: F.avg_pool2d(x, kernel_size=2)),
    "relu by name": between(lambda s, x: F.relu(input=x)),
    "adaptive pool": between(lambda s, x: F.adaptive_avg_pool2d(x, 3)),
    "adaptive max pool": between(lambda s, x: F.adaptive_max_pool2d(x, 3)),
    "nearest": between(lambda s, x: F.interpolate(x, scale_factor=2)),
    "bilinear": between(lambda s, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "batch norm": between(lambda s, x: s.n(x), n=nn.BatchNorm2d(8)),
    "batch norm without parameters": between(lambda s, x: s.n(x), n=nn.BatchNorm2d(8, affine=False)),
    "numbers": between(lambda s, x: (1 - 2 * x) / 3 + 1),
    "slice": between(lambda s, x: x[:, :, ::2, 1:]),
    "spatial pad": between(lambda s, x: F.pad(x, (1, 2, 1, 2))),
    "zero pad": between(lambda s, x: s.pad(x), pad=nn.ZeroPad2d(1)),
    "own mean": between(lambda s, x: x * torch.sigmoid(x.mean((2, 3), keepdim=True))),
    "same": between(lambda s, x: s.c(x), c=conv(8, 8, 3, padding="same", dilation=2)),
    "valid": between(lambda s, x: s.c(x), c=conv(8, 8, 3, padding="valid", bias=False)),
    "reflected": between(lambda s, x: s.c(x), c=conv(8, 8, 3, padding=1, padding_mode="reflect")),
    "depthwise": between(lambda s, x: s.c(x), c=conv(8, 8, 3, groups=8)),
    "transposed": between(lambda s, x: s.t(x), t=nn.ConvTranspose2d(8, 8, 2, stride=2)),
    "grouped": between(lambda s, x: s.d(s.c(x)), c=conv(8, 24, 3, groups=4), d=conv(24, 8, groups=2)),
    "flatten(1)": head(lambda s, x: pool(x).flatten(1)),
    "torch.flatten": head(lambda s, x: torch.flatten(pool(x), 1)),
    "nn.Flatten": head(lambda s, x: s.f(pool(x)), f=nn.Flatten()),
    "view": head(lambda s, x: (y := pool(x)).view(y.size(0), -1)),
    "reshape": head(lambda s, x: (y := pool(x)).reshape(y.shape[0], -1)),
    "torch.reshape": head(lambda s, x: torch.reshape(y := pool(x), (y.shape[0], -1))),
    "mean of both": head(lambda s, x: x.mean((2, 3))),
    "mean one by one": head(lambda s, x: x.mean(-1).mean(-1)),
    "mean kept": head(lambda s, x: torch.mean(x, [2, 3], keepdim=True).flatten(1)),
    "mean by name": head(lambda s, x: x.mean(dim=[-1, -2])),
    "mean of flattened": head(lambda s, x: x.flatten(2).mean(2)),
    "amax": head(lambda s, x: x.amax((2, 3))),
    "sum": head(lambda s, x: x.sum((2, 3))),
    "squeeze twice": head(lambda s, x: pool(x).squeeze(-1).squeeze(-1)),
    "squeeze dims": head(lambda s, x: pool(x).squeeze((2, 3))),
    "index": head(lambda s, x: pool(x)[:, :, 0, 0]),
    "flattened pixels": head(lambda s, x: F.adaptive_avg_pool2d(x, 4).flatten(1), 128),
    "flattened pixels, relu": head(lambda s, x: F.relu(F.adaptive_avg_pool2d(x, 4).flatten(1)), 128),
    "dropout": head(lambda s, x: F.dropout(pool(x).flatten(1), 0.5, s.training)),
    "two linears": head(lambda s, x: F.relu(s.l(pool(x).flatten(1))), l=nn.Linear(8, 8)),
    "batch norm of vectors": head(lambda s, x: s.n(pool(x).flatten(1)), n=nn.BatchNorm1d(8)),
    "sum of two": two(lambda s, a, b: a + b),
    "in-place sum": two(lambda s, a, b: a.add_(b)),
    "sum of two with a factor": two(lambda s, a, b: torch.add(a, b, alpha=2)),
    "difference": two(lambda s, a, b: a - b),
    "product": two(lambda s, a, b: a * b),
    "sum()": two(lambda s, a, b: sum([a, b, a])),
    "concatenation": two(lambda s, a, b: torch.cat([a, b, a], 1), 24),
    "concatenation from the end": two(lambda s, a, b: torch.cat((a, b), dim=-3), 16),
    "batch norm of a concatenation": two(
        lambda s, a, b: s.n(torch.cat([a, b], 1)), 16, n=nn.BatchNorm2d(16)
    ),
    "grouped over a concatenation": two(
        lambda s, a, b: s.c(torch.cat([a, b], 1)), c=conv(16, 8, groups=2)
    ),
    "padded shortcut": two(lambda s, a, b: s.c(a) + F.pad(b, (0, 0, 0, 0, 4, 4)), 16, c=conv(8, 16)),
    "residual": two(lambda s, a, b: F.relu(a + s.c(F.relu(a))) + b, c=conv(8, 8, 3, padding=1)),
    "two branches": lambda: Net(
        lambda s, x: (s.z(s.b(y := s.a(x)) + s.c(y)), s.h(pool(y).flatten(1))),
        a=conv(3, 8), b=conv(8, 8, 3, padding=1), c=conv(8, 8), z=conv(8, 4), h=nn.Linear(8, 4),
    ),
    "MobileNetV2": lambda: Net(
        lambda s, x: s.h(pool(bottleneck(s, (y := s.n(s.a(x))) + bottleneck(s, y, "p"), "q")).flatten(1)),
        a=conv(3, 16, 3, padding=1), n=nn.BatchNorm2d(16), h=nn.Linear(24, 5),
        pe=conv(16, 48), pd=conv(48, 48, 3, padding=1, groups=48), pp=conv(48, 16),
        qe=conv(16, 48), qd=conv(48, 48, 3, stride=2, padding=1, groups=48), qp=conv(48, 24),
    ),
    "squeeze-excite": between(
        lambda s, x: x * torch.sigmoid(s.e(F.relu(s.r(pool(x))))), r=conv(8, 4), e=conv(4, 8)
    ),
    "U-Net": between(
        lambda s, x: torch.cat([x, s.t(s.b(F.max_pool2d(x, 2)))], 1), 16,
        b=conv(8, 16, 3, padding=1), t=nn.ConvTranspose2d(16, 8, 2, stride=2),
    ),
    "one channel read": lambda: Net(
        lambda s, x: s.z(s.a(x[:, :1])), a=conv(1, 8, 3), z=conv(8, 4)
    ),
    "unused layer": between(lambda s, x: x, aux=conv(8, 4)),
    "called on images": lambda: Net(
        lambda s, x: s.z(s.m(s.a(x)) + F.interpolate(s.n(s.a(F.avg_pool2d(x, 2))), scale_factor=2)),
        a=conv(3, 8), m=nn.BatchNorm2d(8), n=nn.BatchNorm2d(8), z=conv(8, 4),
    ),
    "depthwise called twice": between(lambda s, x: s.c(s.c(x)), c=conv(8, 8, groups=8)),
}  # fmt: skip
"""What both engines prune as it is predicted."""

REPEATED: dict[str, Callable[[], nn.Module]] = {
    "called twice": between(lambda s, x: s.c(s.c(x)), c=conv(8, 8)),
    "called on two": two(lambda s, a, b: s.c(a) + s.d(s.c(b)), c=conv(8, 8), d=conv(8, 8)),
    "batch norm called twice": two(lambda s, a, b: s.n(a) + s.c(s.n(b)), c=conv(8, 8), n=nn.BatchNorm2d(8)),
}
"""Networks with a layer that is called several times, which torch-pruning prunes as it is predicted."""

LOST: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "squeeze-excite by linear layers": (
        "a sum or product with channels that no convolution made",
        between(
            lambda s, x: x * torch.sigmoid(s.e(F.relu(s.r(pool(x).flatten(1)))))[:, :, None, None],
            r=nn.Linear(8, 4), e=nn.Linear(4, 8),
        ),
    ),
    "image added": (
        "a sum or product with", lambda: Net(lambda s, x: s.z(s.a(x) + x), a=conv(3, 3), z=conv(3, 8))
    ),
    "concatenations added": (
        "a sum or product of unlike", two(lambda s, a, b: torch.cat([a, b], 1) + s.c(a), 16, c=conv(8, 16))
    ),
    "depthwise over a concatenation": (
        "a depthwise convolution",
        two(lambda s, a, b: s.c(torch.cat([a, b], 1)), 16, c=conv(16, 16, groups=16)),
    ),
    "depthwise over a sum": (
        "a depthwise convolution", two(lambda s, a, b: s.c(a + b), c=conv(8, 8, groups=8))
    ),
    "depthwise on the image": (
        "a depthwise convolution", lambda: Net(lambda s, x: s.y(s.a(x)), a=conv(3, 3, groups=3), y=conv(3, 8))
    ),
    "grouped over a sum": ("a grouped convolution", two(lambda s, a, b: s.c(a + b), c=conv(8, 8, groups=4))),
    "depth multiplier": ("depth multiplier", between(lambda s, x: s.c(x), 16, c=conv(8, 16, groups=8))),
    "one channel": ("a single channel", between(lambda s, x: x * torch.sigmoid(s.c(x)), c=conv(8, 1))),
    "functional": (
        "conv2d", between(lambda s, x: F.conv2d(x, s.w), w=nn.Parameter(torch.rand(8, 8, 1, 1)))
    ),
    "weights by name": (
        "not called as a module", between(lambda s, x: F.conv2d(x, weight=s.c.weight), c=conv(8, 8))
    ),
    "PReLU of channels": ("prelu", between(lambda s, x: s.p(x), p=nn.PReLU(8))),
    "group norm": ("group_norm", between(lambda s, x: s.n(x), n=nn.GroupNorm(2, 8))),
    "layer norm": ("layer_norm", between(lambda s, x: s.n(x), n=nn.LayerNorm([8, 14, 14]))),
    "layer scale": ("mul", between(lambda s, x: s.g * x, g=nn.Parameter(torch.ones(8, 1, 1)))),
    "grouped transposed": (
        "conv_transpose2d", between(lambda s, x: s.t(x), t=nn.ConvTranspose2d(8, 8, 2, groups=2))
    ),
    "channels last": (
        "permute",
        between(lambda s, x: s.l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), l=nn.Linear(8, 8)),
    ),
    "tokens": ("transpose", head(lambda s, x: x.flatten(2).transpose(1, 2).mean(1))),
    "halves": ("chunk", between(lambda s, x: x.chunk(2, 1)[0], 4)),
    "slice of channels": ("getitem", between(lambda s, x: x[:, :4], 4)),
    "mean over channels": ("mean", between(lambda s, x: x * x.mean(1, keepdim=True))),
    "shuffled": ("pixel_shuffle", between(lambda s, x: F.pixel_shuffle(x, 2), 2)),
    "reshaped": ("view", between(lambda s, x: x.view(1, 2, 4, 14, 14).sum(1), 4)),
    "normalised over channels": ("softmax", between(lambda s, x: torch.softmax(x, 1))),
    "two features maps as vectors": (
        "flattened channels", head(lambda s, x: torch.cat([x.flatten(1), x.flatten(1)], 1), 2 * 8 * 196)
    ),
}  # fmt: skip
"""What an engine may prune in a way of its own, or not at all, with the reason."""
