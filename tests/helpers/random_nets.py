"""Random small networks of operations that are pruned, quantized and exported, for laws that hold for all."""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

SIZES = (2, 3, 8, 8)
"""What each of the networks takes; it returns (2, 10)."""

Draw = Callable[[Any], Any]
Shape = tuple[int, int]
"""Channels, and height as well as width, of an activation."""


class Of(nn.Module):
    """A function of an activation and of modules, named as in a printed network."""

    def __init__(self, name: str, function: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.name, self.function = name, function
        for key, module in modules.items():
            setattr(self, key, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **dict(self.named_children()))

    def extra_repr(self) -> str:
        return self.name


def shuffle(x: Tensor, groups: int) -> Tensor:
    parts = x.view(x.size(0), groups, x.size(1) // groups, x.size(2), x.size(3))
    return parts.transpose(1, 2).reshape(x.size(0), -1, x.size(2), x.size(3))


def unflattened(x: Tensor, groups: int) -> Tensor:
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def last(x: Tensor, layer: nn.Module) -> Tensor:
    return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def gated(x: Tensor, reduce: nn.Module, expand: nn.Module, gate: nn.Module) -> Tensor:
    return x * gate(expand(F.relu(reduce(F.adaptive_avg_pool2d(x, 1)))))


def gated_by_linear(x: Tensor, reduce: nn.Module, expand: nn.Module) -> Tensor:
    gates = torch.sigmoid(expand(F.relu(reduce(x.mean((2, 3))))))
    return x * gates.unsqueeze(-1).unsqueeze(-1)


def attended(x: Tensor, query: nn.Module, key: nn.Module, value: nn.Module, out: nn.Module) -> Tensor:
    """Every place attends to every other; one head of convolutions 1×1."""
    q, k, v = (layer(x).flatten(2) for layer in (query, key, value))
    weights = torch.softmax(q.transpose(1, 2) @ k * 0.5, -1)
    return x + out((v @ weights.transpose(1, 2)).view(x.size(0), -1, x.size(2), x.size(3)))


def attended_in_heads(x: Tensor, qkv: nn.Module, out: nn.Module, heads: int) -> Tensor:
    tokens = qkv(x.flatten(2).transpose(1, 2))
    query, key, value = tokens.chunk(3, -1)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return x + out(mixed).transpose(1, 2).reshape(x.size(0), -1, x.size(2), x.size(3))


def conv(draw: Draw, i: int, o: int, side: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that is plain, grouped, depthwise, with a depth multiplier or 1×1."""
    kernel = draw(st.sampled_from((1, 3)))
    groups = draw(st.sampled_from([g for g in (1, 1, 2, 4, i) if i % g == 0 and o % g == 0]))
    bias = draw(st.booleans())
    return nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=bias)


def norm(draw: Draw, width: int, side: int) -> nn.Module:
    kinds = ("batch", "batch", "batch", "group", "layer", "layer last", "instance", "instance bare", "bare")
    match draw(st.sampled_from(kinds)):
        case "group":
            return nn.GroupNorm(draw(st.sampled_from([g for g in (1, 2, 4) if width % g == 0])), width)
        case "layer":
            return nn.LayerNorm([width, side, side]) if side > 1 else nn.BatchNorm2d(width)
        case "layer last":
            return Of("layer norm over the last", last, layer=nn.LayerNorm(width))
        case "instance":
            return nn.InstanceNorm2d(width, affine=True) if side > 1 else nn.BatchNorm2d(width)
        case "instance bare":
            return nn.InstanceNorm2d(width) if side > 1 else nn.BatchNorm2d(width)
        case "bare":
            return nn.BatchNorm2d(width, affine=False)
    return nn.BatchNorm2d(width)


def activation(draw: Draw, width: int) -> nn.Module:
    kinds = (nn.ReLU, nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardswish, nn.SiLU, nn.GELU, nn.Tanh, nn.LeakyReLU)
    kinds = (*kinds, nn.Hardsigmoid, nn.PReLU, lambda: nn.PReLU(width), lambda: nn.Dropout(0.2))
    return draw(st.sampled_from(kinds))()


def block(draw: Draw, i: int, o: int, side: int) -> nn.Module:
    """A convolution, perhaps a norm, an activation; the side stays."""
    layers: list[nn.Module] = [conv(draw, i, o, side)]
    if draw(st.booleans()):
        layers.append(norm(draw, o, side))
    if draw(st.booleans()):
        layers.append(activation(draw, o))
    return nn.Sequential(*layers)


def _width(draw: Draw) -> int:
    return int(draw(st.sampled_from((4, 8, 12, 16))))


def _strided(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    made = _width(draw)
    return conv(draw, c, made, side, 2), (made, (side + 1) // 2)


def _transposed(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    made = _width(draw)
    groups = draw(st.sampled_from([g for g in (1, 1, 2) if c % g == 0]))
    return nn.ConvTranspose2d(c, made, 2, 2, groups=groups), (made, 2 * side)


def _widened(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    return nn.Conv2d(c, 2 * c, 3, padding=1, groups=c), (2 * c, side)


def _depthwise(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    return nn.Conv2d(c, c, 3, padding=1, groups=c, bias=draw(st.booleans())), (c, side)


def _plain(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    made = _width(draw)
    return block(draw, c, made, side), (made, side)


def _sum(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    return Of("x + f(x)", lambda x, f: x + f(x), f=block(draw, c, c, side)), (c, side)


def _product(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    one, other = block(draw, c, c, side), block(draw, c, c, side)
    return Of("f(x) * g(x)", lambda x, f, g: f(x) * g(x), f=one, g=other), (c, side)


def _projected(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    made = _width(draw)
    one, other = block(draw, c, made, side), block(draw, c, made, side)
    return Of("f(x) + g(x)", lambda x, f, g: F.relu(f(x) + g(x)), f=one, g=other), (made, side)


def _concatenation(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    made = draw(st.sampled_from((4, 8)))
    joined = Of("cat(x, f(x))", lambda x, f: torch.cat([x, f(x)], 1), f=block(draw, c, made, side))
    return joined, (c + made, side)


def _halves(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    def halves(x: Tensor, f: nn.Module) -> Tensor:
        one, other = x.chunk(2, 1)
        return torch.cat([other, f(one)], 1)

    return Of("cat(halves)", halves, f=block(draw, c // 2, c // 2, side)), (c, side)


def _split(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    def split(x: Tensor, f: nn.Module) -> Tensor:
        one, other = torch.split(x, [c // 4, c - c // 4], 1)
        return torch.cat([f(one), other], 1)

    return Of("cat(split)", split, f=block(draw, c // 4, c // 4, side)), (c, side)


def _sliced(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    if draw(st.booleans()):
        return Of("x[:, ::2]", lambda x: x[:, ::2]), (c // 2, side)
    return Of("x[:, : c / 2]", lambda x: x[:, : c // 2]), (c // 2, side)


def _shuffled(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    groups = draw(st.sampled_from((2, 4)))
    kinds = (
        nn.ChannelShuffle(groups),
        Of("shuffle by view", lambda x: shuffle(x, groups)),
        Of("shuffle by unflatten", lambda x: unflattened(x, groups)),
    )
    return draw(st.sampled_from(kinds)), (c, side)


def _last(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    made = _width(draw)
    return Of("linear over the last", last, layer=nn.Linear(c, made)), (made, side)


def _pooled(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    return draw(st.sampled_from((nn.MaxPool2d(2, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)))), (
        c,
        (side + 1) // 2,
    )


def _squeezed(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    if draw(st.booleans()):
        return Of(
            "squeeze-excite, linear", gated_by_linear, reduce=nn.Linear(c, 4), expand=nn.Linear(4, c)
        ), (c, side)
    gate = draw(st.sampled_from((nn.Sigmoid, nn.Hardsigmoid)))()
    layers = {"reduce": nn.Conv2d(c, 4, 1), "expand": nn.Conv2d(4, c, 1), "gate": gate}
    return Of("squeeze-excite", gated, **layers), (c, side)


def _attention(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    if draw(st.booleans()):
        layers: dict[str, nn.Module] = {"qkv": nn.Linear(c, 3 * c), "out": nn.Linear(c, c)}
        return Of("attention, 2 heads", lambda x, qkv, out: attended_in_heads(x, qkv, out, 2), **layers), (
            c,
            side,
        )
    layers = {"query": nn.Conv2d(c, 4, 1), "key": nn.Conv2d(c, 4, 1)}
    layers |= {"value": nn.Conv2d(c, 8, 1), "out": nn.Conv2d(8, c, 1)}
    return Of("attention", attended, **layers), (c, side)


def _normed(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    return norm(draw, c, side), (c, side)


def _activated(draw: Draw, c: int, side: int) -> tuple[nn.Module, Shape]:
    return activation(draw, c), (c, side)


STEPS: dict[str, Callable[[Draw, int, int], tuple[nn.Module, Shape]]] = {
    "plain": _plain, "strided": _strided, "transposed": _transposed, "depth multiplier": _widened,
    "depthwise": _depthwise, "sum": _sum, "product": _product, "projected": _projected,
    "concatenation": _concatenation, "halves": _halves, "split": _split, "sliced": _sliced,
    "shuffled": _shuffled, "last": _last, "pooled": _pooled, "squeezed": _squeezed,
    "attention": _attention, "norm": _normed, "activation": _activated,
}  # fmt: skip
"""By kind, what makes a module and what it returns of what it takes: channels and side."""


def _head(draw: Draw, c: int, side: int) -> list[nn.Module]:
    """From an activation to 10 outputs."""
    match draw(st.sampled_from(("pooled", "pooled", "flat", "convolution", "channels last", "log softmax"))):
        case "flat":
            return [nn.Flatten(), nn.Linear(c * side * side, 10)]
        case "convolution":
            return [nn.Conv2d(c, 10, 1), Of("mean", lambda x: x.mean((2, 3)))]
        case "channels last":
            flat = Of("flattened, channels last", lambda x: x.permute(0, 2, 3, 1).flatten(1))
            return [flat, nn.Linear(c * side * side, 10)]
        case "log softmax":
            return [nn.Conv2d(c, 10, 1), Of("mean", lambda x: x.mean((2, 3))), nn.LogSoftmax(1)]
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c, 10)]


@torch.no_grad()
def settled(net: nn.Module) -> nn.Module:
    """The network as training may leave it: every norm with statistics, a weight and a bias of its own."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm | nn.InstanceNorm2d):
            if module.weight is not None:
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        elif isinstance(module, nn.PReLU):
            module.weight.uniform_(0.1, 0.4)
    return net.eval()


@st.composite
def networks(draw: Draw, kinds: tuple[str, ...] = tuple(STEPS), most: int = 5) -> nn.Sequential:
    """Networks in eval mode that take `SIZES` and return 10 outputs for each image.

    Args:
        draw: Hypothesis's own.
        kinds: The keys of `STEPS` of which they are made; plain convolutions are always among them.
        most: The largest number of steps between the first convolution and the head.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 2**16)))
        c, side = _width(draw), 8
        layers: list[nn.Module] = [nn.Conv2d(3, c, 3, padding=1)]
        for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=most)):
            if (kind == "transposed" and side > 8) or (kind == "sliced" and c % 8) or c > 32:
                kind = "plain"  # the side stays small, and the channels a multiple of four
            layer, (c, side) = STEPS[kind](draw, c, side)
            layers.append(layer)
            if draw(st.integers(0, 3)) == 0:
                layer, (c, side) = _plain(draw, c, side)
                layers.append(layer)
        return settled(nn.Sequential(*layers, *_head(draw, c, side)))  # type: ignore[return-value]
