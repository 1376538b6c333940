"""MACs of every kind of layer are those of torch's flop counter, and every parameter is counted once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.flop_counter import FlopCounterMode

from searcher.costs.counting.recorder import in_parts, record
from searcher.costs.op import UNUSED, not_counted


class Net(nn.Module):
    """A forward of its own over parts that it holds."""

    def __init__(self, call: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.call = call

    def forward(self, x: Tensor) -> Any:
        return self.call(self, x)


def parameter(*sizes: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(sizes))


def attention(**options: Any) -> nn.Module:
    return nn.MultiheadAttention(16, 4, batch_first=True, **options)


def tied() -> nn.Module:
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)
    second.weight = first.weight
    return nn.Sequential(first, second)


def normed() -> nn.Module:
    return nn.Sequential(*(parametrizations.weight_norm(nn.Conv2d(8, 8, 3)) for _ in range(3)))


def standardised(net: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, net.w - net.w.mean((1, 2, 3), keepdim=True))


def halves(net: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, net.c.weight[:2]) + F.conv2d(x, net.c.weight[2:])


IMAGE, TOKENS, IDS = torch.randn(1, 8, 16, 16), torch.randn(1, 8, 16), torch.arange(8)[None]
LAYERS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "conv 1d": (lambda: nn.Conv1d(8, 4, 3), TOKENS),
    "conv 2d": (lambda: nn.Conv2d(8, 4, 3), IMAGE),
    "conv 3d": (lambda: nn.Conv3d(8, 4, 3), torch.randn(1, 8, 5, 5, 5)),
    "groups": (lambda: nn.Conv2d(8, 4, 3, groups=2, bias=False), IMAGE),
    "dilated": (lambda: nn.Conv2d(8, 4, 3, dilation=2, padding=2), IMAGE),
    "strided": (lambda: nn.Conv2d(8, 4, 3, stride=(1, 2)), IMAGE),
    "padding same": (lambda: nn.Conv2d(8, 4, 3, padding="same"), IMAGE),
    "padding reflects": (lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"), IMAGE),
    "padding circular": (lambda: nn.Conv2d(8, 4, 3, padding=1, padding_mode="circular"), IMAGE),
    "transposed": (lambda: nn.ConvTranspose2d(8, 4, 3), IMAGE),
    "transposed, groups": (lambda: nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, groups=2), IMAGE),
    "bfloat16": (lambda: nn.Conv2d(8, 4, 3).bfloat16(), IMAGE.bfloat16()),
    "channels last": (
        lambda: nn.Conv2d(8, 4, 3).to(memory_format=torch.channels_last),
        IMAGE.to(memory_format=torch.channels_last),
    ),
    "dropout": (lambda: nn.Sequential(nn.Dropout(), nn.Conv2d(8, 4, 1), nn.Dropout2d()), IMAGE),
    "shared": (lambda: Net(lambda net, x: net.c(net.c(x)), c=nn.Conv2d(8, 8, 3, padding=1)), IMAGE),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Conv2d(8, 4, 1)), nn.Conv2d(4, 2, 1)), IMAGE),
    "tuple": (lambda: Net(lambda net, x: (net.c(x), x.relu()), c=nn.Conv2d(8, 4, 1)), IMAGE),
    "dictionary": (lambda: Net(lambda net, x: {"a": net.c(x)}, c=nn.Conv2d(8, 4, 1)), IMAGE),
    "linear": (lambda: nn.Linear(16, 4), TOKENS),
    "linear, not contiguous": (lambda: Net(lambda net, x: net.a(x.mT), a=nn.Linear(8, 4)), TOKENS),
    "linear of a vector": (lambda: Net(lambda net, x: net.a(x[0, 0]), a=nn.Linear(16, 4)), TOKENS),
    "tied": (tied, TOKENS),
    "self attention": (lambda: Net(lambda net, x: net.a(x, x, x)[0], a=attention()), TOKENS),
    "without attention weights": (
        lambda: Net(lambda net, x: net.a(x, x, x, need_weights=False)[0], a=attention()),
        TOKENS,
    ),
    "cross attention": (lambda: Net(lambda net, x: net.a(x, x * 2, x * 2)[0], a=attention()), TOKENS),
    "three inputs": (lambda: Net(lambda net, x: net.a(x, x * 2, x * 3)[0], a=attention()), TOKENS),
    "keys of other widths": (
        lambda: Net(lambda net, x: net.a(x, x[..., :8], x[..., :4])[0], a=attention(kdim=8, vdim=4)),
        TOKENS,
    ),
    "learned keys": (lambda: Net(lambda net, x: net.a(x, x, x)[0], a=attention(add_bias_kv=True)), TOKENS),
    "transformer": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), TOKENS),
    "embedding": (lambda: nn.Sequential(nn.Embedding(10, 16), nn.Linear(16, 4), nn.ReLU()), IDS),
    "tied embedding": (
        lambda: Net(lambda net, x: F.linear(net.e(x).relu(), net.e.weight), e=nn.Embedding(10, 16)),
        IDS,
    ),
    "table": (lambda: Net(lambda net, x: net.t[x] @ net.w, t=parameter(10, 16), w=parameter(16, 4)), IDS),
    "einsum": (
        lambda: Net(lambda net, x: torch.einsum("bchw,dc->bdhw", x, net.w), w=parameter(4, 8)),
        IMAGE,
    ),
    "weight on the left": (lambda: Net(lambda net, x: net.w @ x, w=parameter(4, 8)), TOKENS),
    "several on the left": (lambda: Net(lambda net, x: net.w @ x, w=parameter(3, 4, 8)), TOKENS),
    "products of activations": (lambda: Net(lambda net, x: torch.baddbmm(x @ x.mT, x, x.mT)), TOKENS),
    "low rank": (
        lambda: Net(lambda net, x: x @ (net.u @ net.v), u=parameter(16, 2), v=parameter(2, 16)),
        TOKENS,
    ),
    "slices": (lambda: Net(halves, c=nn.Conv2d(8, 4, 3, bias=False)), IMAGE),
    "weight norm": (normed, IMAGE),
    "mask": (lambda: prune.l1_unstructured(nn.Conv2d(8, 4, 3), "weight", 0.5), IMAGE),
    "standardised": (lambda: Net(standardised, w=parameter(4, 8, 3, 3)), IMAGE),
    "gru": (lambda: Net(lambda net, x: net.r(x)[0], r=nn.GRU(16, 8)), TOKENS),
    "lstm": (lambda: Net(lambda net, x: net.r(x)[0], r=nn.LSTM(16, 8, 2, bidirectional=True)), TOKENS),
    "number": (lambda: Net(lambda net, x: net.a * x, a=parameter()), TOKENS),
    "normalisations": (
        lambda: nn.Sequential(nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8), nn.LayerNorm([16, 16])),
        IMAGE,
    ),
    "instance norm with statistics": (
        lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        IMAGE,
    ),
    "positions": (
        lambda: Net(
            lambda net, x: torch.cat([net.c.expand(len(x), -1, -1), x], 1) + net.p,
            c=parameter(1, 1, 16),
            p=parameter(1, 9, 16),
        ),
        TOKENS,
    ),
    "bag": (lambda: nn.EmbeddingBag(10, 16), IDS),
    "parameters alone": (
        lambda: Net(lambda net, x: (net.s.exp(), net.u @ net.u.mT), s=parameter(), u=parameter(3, 4)),
        TOKENS,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_macs_and_parameters(name):
    made, example = LAYERS[name]
    layer = made().train()
    ops = record(layer, example)
    with FlopCounterMode(display=False) as flops, in_parts(layer), torch.no_grad():
        layer.eval()(example)
    assert sum(op.macs for op in ops) == flops.get_total_flops() // 2
    assert sum(op.params for op in ops) == sum(p.numel() for p in layer.parameters())
    assert not [op for op in ops if op.kind == UNUSED]
    assert all(min(op.arithmetic.multiplies, op.arithmetic.adds, op.nonzero) >= 0 for op in ops)


def test_a_vector_is_one_dot_product_an_output():
    net = Net(lambda net, x: torch.dot(net.w @ x[0, 0], x[0, 0, :4]), w=parameter(4, 16))
    ops = record(net, TOKENS)
    assert [(op.kind, op.macs, op.arithmetic.adds) for op in ops] == [("linear", 64, 60), ("matmul", 4, 3)]


def test_a_product_with_an_added_activation_has_a_bias():
    (op,) = record(Net(lambda net, x: torch.addmm(x, x, x)), torch.rand(16, 16))
    assert (op.kind, op.macs, op.arithmetic.adds) == ("matmul", 4096, 4096)


@pytest.mark.parametrize(
    ("call", "kinds"),
    [
        (lambda net, x: x.mean(), ["mean"]),
        (lambda net, x: x * x.sum(), ["sum", "mul"]),
        (lambda net, x: x / x.abs().max(), ["abs", "amax", "mul"]),
        (lambda net, x: x * (x > 0), ["compare", "mul"]),
        (lambda net, x: x.argmax(1), ["amax"]),
        (lambda net, x: torch.where(x > 0, x, -x), ["compare", "neg", "where"]),
        (lambda net, x: torch.fft.fft2(x).real, ["uncounted"]),
        (lambda net, x: torch.view_as_real(torch.complex(x, x) * 2), ["uncounted", "uncounted"]),
        (lambda net, x: x[:, [0, 2]].masked_fill(torch.tensor([True, False] * 8), 0.0), []),
        (lambda net, x: x.sort(1)[0], ["uncounted"]),
        (lambda net, x: torch.logical_and(x > 0, x < 1), ["compare", "compare", "uncounted"]),
        (lambda net, x: F.gelu(F.elu(x)) + F.gelu(F.mish(x), approximate="tanh"),
         ["elu", "gelu", "mish", "gelu_tanh", "add"]),
        (lambda net, x: (x**2 + 1).rsqrt().exp().sqrt(), ["pow", "add", "rsqrt", "exp", "sqrt"]),
        (lambda net, x: F.log_softmax(x, 1), ["log_softmax"]),
        (lambda net, x: F.max_pool3d(F.avg_pool3d(x[..., None, None], 1), 1), ["avg_pool", "max_pool"]),
    ],
)  # fmt: skip
def test_every_operation_on_an_activation_is_a_row(call, kinds):
    ops = record(Net(call), TOKENS)
    assert [op.kind for op in ops] == kinds
    assert bool(not_counted(ops)) == ("uncounted" in kinds)


@pytest.mark.parametrize("size", [1, 3, 5, 16, 20])
@pytest.mark.parametrize(
    ("pool", "kind"), [(nn.AdaptiveAvgPool2d, "mean"), (nn.AdaptiveMaxPool2d, "max_pool")]
)
def test_adaptive_pooling_reads_what_torch_reads(size, pool, kind):
    (op,) = record(pool(size), IMAGE)
    ends = [(i * 16 // size, -(-(i + 1) * 16 // size)) for i in range(size)]
    read = 8 * sum(b - a for a, b in ends) ** 2
    multiplies, adds = (8 * size**2, read - 8 * size**2) if kind == "mean" else (read - 8 * size**2, 0)
    assert (op.kind, op.arithmetic.multiplies, op.arithmetic.adds) == (kind, multiplies, adds)


def test_pools_of_one_and_three_dimensions():
    volume = torch.rand(1, 2, 4, 4, 4)
    (one,), (three,) = record(nn.AvgPool1d(2), TOKENS), record(nn.AvgPool3d(2), volume)
    (most,) = record(nn.MaxPool3d(2), volume)
    assert (one.arithmetic.adds, three.arithmetic.adds, most.arithmetic.multiplies) == (64, 16 * 7, 16 * 7)
