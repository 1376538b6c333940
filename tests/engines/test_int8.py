"""The widths that operations will have in a converted network, against those that they have."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.compression.engines import fx
from searcher.compression.engines.fx_widths import BETWEEN, MODULES, quantized
from searcher.compression.reconcile import reconcile
from searcher.config.recipe import Model, Recipe
from searcher.costs.counting.executed import walk
from searcher.costs.shapes.outline import outline

SIZES = (1, 3, 8, 8)


class Net(nn.Module):
    """A function between two convolutions."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.b(self.function(self, self.a(x))), 1), 1))


def add_in_place(s: Net, x: Tensor) -> Tensor:
    x += s.c(x)
    return x


OPTIONS: dict[str, tuple[Any, ...]] = {
    "AdaptiveAvgPool2d": (2,), "AdaptiveMaxPool2d": (2,), "AvgPool2d": (2,), "BatchNorm2d": (8,),
    "GroupNorm": (2, 8), "InstanceNorm2d": (8,), "LayerNorm": ([8, 8, 8],), "LogSoftmax": (1,),
    "MaxPool2d": (2,), "ReflectionPad2d": (1,), "Softmax": (1,), "Upsample": (None, 2), "ZeroPad2d": (1,),
}  # fmt: skip
OTHERS = "CELU GELU Hardshrink LogSigmoid Mish SELU SiLU Softplus Softsign Tanhshrink"
TYPES = [
    name
    for name in sorted({*MODULES, *OPTIONS, *OTHERS.split(), *(by for by in BETWEEN if isinstance(by, str))})
    if name in OPTIONS or not any(part in name for part in ("Pool", "Norm", "Conv", "Linear"))
]

FUNCTIONS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "add": lambda s, x: x + s.c(x),
    "add method": lambda s, x: x.add(s.c(x)),
    "add in place": add_in_place,
    "add number": lambda s, x: 1 + x,
    "subtract": lambda s, x: x - s.c(x),
    "subtract from": lambda s, x: 1 - x,
    "multiply": lambda s, x: x * s.c(x),
    "multiply by number": lambda s, x: 2 * x,
    "multiply method": lambda s, x: x.mul(s.c(x)),
    "divide": lambda s, x: x / (s.c(x) + 9),
    "negate": lambda s, x: -x,
    "square": lambda s, x: x**2,
    "cat": lambda s, x: torch.cat([x, s.c(x)], 1)[:, :8],
    "matmul": lambda s, x: torch.matmul(x, s.c(x)),
    "@": lambda s, x: x @ s.c(x),
    "F.relu": lambda s, x: F.relu(x),
    "F.relu in place": lambda s, x: F.relu(x, inplace=True),
    "torch.relu": lambda s, x: torch.relu(x),
    "x.relu": lambda s, x: x.relu(),
    "F.relu6": lambda s, x: F.relu6(x),
    "F.leaky_relu": lambda s, x: F.leaky_relu(x, 0.1),
    "F.elu": lambda s, x: F.elu(x),
    "F.gelu": lambda s, x: F.gelu(x),
    "F.silu": lambda s, x: F.silu(x),
    "own silu": lambda s, x: x * torch.sigmoid(x),
    "F.hardswish": lambda s, x: F.hardswish(x),
    "F.hardsigmoid": lambda s, x: F.hardsigmoid(x),
    "torch.sigmoid": lambda s, x: torch.sigmoid(x),
    "x.sigmoid": lambda s, x: x.sigmoid(),
    "torch.tanh": lambda s, x: torch.tanh(x),
    "F.softmax": lambda s, x: F.softmax(x, 1),
    "sigmoid after float": lambda s, x: torch.sigmoid(-x),
    "sigmoid before float": lambda s, x: -torch.sigmoid(x),
    "sigmoid twice": lambda s, x: torch.sigmoid(torch.sigmoid(x)),
    "relu after float": lambda s, x: F.relu(-x),
    "pool after float": lambda s, x: F.max_pool2d(F.gelu(x), 2),
    "squeeze-excite": lambda s, x: x * torch.sigmoid(s.c(F.adaptive_avg_pool2d(x, 1))),
    "x.clamp": lambda s, x: x.clamp(-1, 1),
    "torch.clamp_min": lambda s, x: torch.clamp_min(x, 0),
    "x.mean": lambda s, x: x.mean((2, 3), keepdim=True),
    "x.sum": lambda s, x: x.sum((2, 3), keepdim=True),
    "x.amax": lambda s, x: x.amax((2, 3), keepdim=True),
    "F.avg_pool2d": lambda s, x: F.avg_pool2d(x, kernel_size=2),
    "F.max_pool2d": lambda s, x: F.max_pool2d(x, 2),
    "F.interpolate": lambda s, x: F.interpolate(x, scale_factor=2),
    "F.interpolate bilinear": lambda s, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "F.pad": lambda s, x: F.pad(x, (1, 1, 1, 1)),
}


def check(net: Net, exclude: dict[str, int]) -> None:
    torch.manual_seed(0)
    net, images = net.eval(), torch.randn(4, *SIZES[1:])
    found = walk(net, fx.quantize(net, [images], exclude), images)
    outlined = outline(copy.deepcopy(net).to("meta"), SIZES)
    expected = quantized(dict(net.named_modules()), outlined.ops, outlined.called, exclude)
    reconcile(expected, found, Recipe(model=Model(name="a network"), stages=()))


@pytest.mark.parametrize("exclude", [{}, {"a": 16}], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str, exclude: dict[str, int]) -> None:
    function = FUNCTIONS[name]
    more = {"c": nn.Conv2d(8, 8, 1)} if "c" in function.__code__.co_names else {}
    check(Net(function, **more), exclude)


@pytest.mark.parametrize("exclude", [{}, {"b": 32}, {"r": 16}], ids=str)
@pytest.mark.parametrize("name", TYPES)
def test_modules(name: str, exclude: dict[str, int]) -> None:
    check(Net(lambda s, x: s.r(x), r=getattr(nn, name)(*OPTIONS.get(name, ()))), exclude)


def test_a_batch_norm_of_vectors_runs_in_integers_where_a_layer_holds_it() -> None:
    def held(s: Any, x: Tensor) -> Tensor:
        return s.n(s.l(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)))[:, :, None, None]

    def alone(s: Any, x: Tensor) -> Tensor:
        return s.l(s.n(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)))[:, :, None, None]

    for function in (held, alone):
        check(Net(function, n=nn.BatchNorm1d(8), l=nn.Linear(8, 8)), {})
