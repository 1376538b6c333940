"""The rows of the common functions of torch, from sizes alone and in microseconds.

A function here answers None to what it does not know, and to what torch may refuse: that is run on the meta
device then, which raises torch's own error.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.costs.arithmetic import Arithmetic, Sizes, convolution, dot_products, elementwise, reduction
from searcher.costs.operators_table import BY_KIND
from searcher.costs.shapes.channels import Origin, joined, whole
from searcher.costs.shapes.stand_in import Shape, Tracer

_Answer = Callable[..., Shape | None]
QUICK: dict[Any, _Answer] = {}
"""The functions of torch that are answered here."""


def _answers(kind: str, *functions: Any) -> Callable[[_Answer], _Answer]:
    """Register what answers functions of an operator in the table, by its kind."""
    assert kind in BY_KIND, kind

    def register(answer: _Answer) -> _Answer:
        QUICK.update(dict.fromkeys(functions, answer))
        return answer

    return register


@_answers("conv", torch.conv2d)
def _conv(
    tracer: Tracer, x: Shape, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Shape | None:  # fmt: skip
    kernel = tuple(weight.shape[2:])
    paddings = _paddings(padding, kernel, _pair(dilation))
    if not tracer.runs(weight, nn.Conv2d) or x.ndim != 4 or paddings is None:
        return None
    area = [
        (n + p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[2:], paddings, _pair(dilation), kernel, _pair(stride), strict=True)
    ]
    fits = _divides(x, weight, groups) if tracer.kept else x.shape[1] == weight.shape[1] * groups
    if not fits or min(area) < 1 or x.dtype is not weight.dtype:
        return None
    made, channels, groups = _convolved(tracer, x, weight, groups)
    sizes = (int(x.shape[0]), made, *area)
    shape = (made, int(x.shape[1]) // groups, *kernel)
    return tracer.row(
        "conv",
        "aten::convolution",
        [x],
        sizes,
        channels,
        convolution(tuple(x.shape), sizes, shape, groups=groups, bias=bias is not None),
        weight=weight,
        weights=tracer.new(weight, math.prod(shape)),
        biases=tracer.new(bias, made),
    )


def _divides(x: Shape, weight: Tensor, groups: int) -> bool:
    return int(weight.shape[0]) == groups or not int(x.shape[1]) % groups


def _convolved(tracer: Tracer, x: Shape, weight: Tensor, groups: int) -> tuple[int, Origin, int]:
    """The channels that a convolution makes, where they come from, and its groups after pruning."""
    made, read = int(weight.shape[0]), int(weight.shape[1]) * groups
    if x.origin.flat:
        tracer.channels.give_up("a convolution on flattened channels")
    if tracer.reads(weight, x.origin) and 1 < groups < read:
        tracer.channels.give_up("a grouped convolution that is called twice")
    if groups == made == read:
        tracer.channels.read_one_by_one(x.origin)
        return int(x.shape[1]), x.origin, int(x.shape[1])
    if made == 1 or groups == read > 1:
        tracer.channels.give_up("a convolution of a single channel or with a depth multiplier")
    if groups > 1:
        tracer.channels.read_in_groups(x.origin, groups)
    size = tracer.kept.get(id(weight), made)
    origin = tracer.channels.add(id(weight), size, groups)
    if groups == made > 1:
        tracer.channels.fix(x.origin, origin)
    return size, origin, groups


@_answers("conv", torch.conv_transpose2d)
def _transposed(
    tracer: Tracer, x: Shape, weight: Tensor, bias: Tensor | None = None, stride: Any = 1,
    padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Shape | None:  # fmt: skip
    own = tracer.runs(weight, nn.ConvTranspose2d)
    if not own or x.ndim != 4 or groups > 1 or x.dtype is not weight.dtype:
        return None
    made, kernel = int(weight.shape[1]), tuple(weight.shape[2:])
    options = zip(x.shape[2:], kernel, *map(_pair, (stride, padding, output_padding, dilation)), strict=True)
    area = [(n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in options]
    if not (x.shape[1] == weight.shape[0] or tracer.kept) or min(area) < 1 or made == 1:
        return None
    if tracer.again(weight):
        tracer.channels.lose("a layer that is called twice", x.origin)
    sizes, shape = (int(x.shape[0]), made, *area), (int(x.shape[1]), made, *kernel)
    arithmetic = convolution(tuple(x.shape), sizes, shape, groups=1, bias=bias is not None, transposed=True)
    return tracer.row(
        "conv", "aten::convolution", [x], sizes, whole(made), arithmetic, weight=weight,
        weights=tracer.new(weight, math.prod(shape)), biases=tracer.new(bias, made),
    )  # fmt: skip


@_answers("linear", F.linear)
def _linear(tracer: Tracer, x: Shape, weight: Tensor, bias: Tensor | None = None) -> Shape | None:
    own = tracer.runs(weight, nn.Linear)
    if not own or x.ndim != 2 or not x.plain or weight.dtype is not x.dtype:
        return None
    made, length = int(weight.shape[0]), int(x.shape[1])
    if not (length == weight.shape[1] or tracer.kept):
        return None
    if tracer.again(weight):
        tracer.channels.lose("a layer that is called twice", x.origin)
    sizes = (int(x.shape[0]), made)
    arithmetic = dot_products(math.prod(sizes), length, bias=bias is not None)
    return tracer.row(
        "linear", "aten::addmm", [x], sizes, whole(made), arithmetic, weight=weight,
        weights=tracer.new(weight, made * length), biases=tracer.new(bias, made),
    )  # fmt: skip


@_answers("batch_norm", F.batch_norm)
def _batch_norm(
    tracer: Tracer, x: Shape, mean: Any, var: Any, weight: Any = None, bias: Any = None, *rest: Any,
    **options: Any,
) -> Shape | None:  # fmt: skip
    size = int(x.shape[1])
    held = [p for p in (mean, var, weight, bias) if p is not None]
    if not (tracer.kept or all(len(p) == size for p in held)) or not x.plain or mean is None:
        return None
    if x.origin.flat:
        tracer.channels.lose("a batch norm on flattened channels", x.origin)
    tracer.reads(mean, x.origin)
    biases = tracer.new(weight, size) + tracer.new(bias, size)
    return _same(tracer, "batch_norm", "aten::native_batch_norm", x, biases=biases)


@_answers("relu", F.relu, torch.relu, Tensor.relu)
def _relu(tracer: Tracer, x: Shape, inplace: bool = False) -> Shape | None:
    result = _same(tracer, "relu", "aten::relu", x)
    return _in_place(x, result) if inplace else result


@_answers("clamp", F.relu6)
def _relu6(tracer: Tracer, x: Shape, inplace: bool = False) -> Shape | None:
    return _hardtanh(tracer, x, inplace=inplace)


@_answers("clamp", F.hardtanh)
def _hardtanh(
    tracer: Tracer, x: Shape, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Shape | None:
    if min_val > max_val:
        return None
    result = _same(tracer, "clamp", "aten::hardtanh", x)
    return _in_place(x, result) if inplace else result


def _same(tracer: Tracer, kind: str, operation: str, x: Shape, biases: int = 0) -> Shape | None:
    sizes = tuple(x.shape)
    arithmetic = elementwise(kind, sizes)
    if arithmetic is None or not x.plain:
        return None
    return tracer.row(kind, operation, [x], sizes, x.origin, arithmetic, biases=biases)


def _in_place(x: Shape, result: Shape | None) -> Shape | None:
    if result is None:
        return None
    x.origin, x.producer = result.origin, result.producer
    return x


@_answers("cat", torch.cat)
def _cat(tracer: Tracer, tensors: Any, dim: int = 0) -> Shape | None:
    first = tensors[0].shape
    alike = all(x.shape[0] == first[0] and x.shape[2:] == first[2:] and x.plain for x in tensors)
    if dim not in (1, 1 - len(first)) or not alike:
        return None
    origins = [x.origin for x in tensors]
    if any(origin.flat for origin in origins):
        tracer.channels.lose("a concatenation of flattened channels", *origins)
    sizes = (int(first[0]), sum(int(x.shape[1]) for x in tensors), *map(int, first[2:]))
    return tracer.row("cat", "aten::cat", list(tensors), sizes, joined(origins), Arithmetic(0, 0))


@_answers("add", torch.add, Tensor.add, Tensor.__add__)
def _add(tracer: Tracer, x: Any, y: Any) -> Shape | None:
    if x.shape != y.shape or not (x.plain and y.plain):
        return None
    sizes = tuple(x.shape)
    arithmetic = elementwise("add", sizes)
    assert arithmetic is not None
    return tracer.row("add", "aten::add", [x, y], sizes, tracer.channels.tie(x.origin, y.origin), arithmetic)


@_answers("add", Tensor.__iadd__)
def _add_in_place(tracer: Tracer, x: Any, y: Any) -> Shape | None:
    return _in_place(x, _add(tracer, x, y))


@_answers("avg_pool", F.avg_pool2d)
def _avg_pool(
    tracer: Tracer, x: Shape, kernel: Any, stride: Any = None, padding: Any = 0, *rest: Any
) -> Shape | None:
    plain = isinstance(kernel, int) and stride in (None, kernel) and padding == 0 and not any(rest[:1])
    if not plain or x.ndim != 4 or not x.plain or any(n % kernel or n < kernel for n in x.shape[2:]):
        return None
    return _pooled(tracer, "avg_pool", "aten::avg_pool2d", x, [n // kernel for n in x.shape[2:]], kernel**2)


@_answers("mean", F.adaptive_avg_pool2d)
def _adaptive_avg_pool(tracer: Tracer, x: Shape, output_size: Any) -> Shape | None:
    if output_size not in (1, (1, 1)) or x.ndim != 4 or not x.plain:
        return None
    return _pooled(tracer, "mean", "aten::mean", x, [1, 1], int(x.shape[2] * x.shape[3]))


def _pooled(tracer: Tracer, kind: str, operation: str, x: Shape, area: list[int], window: int) -> Shape:
    sizes: Sizes = (*map(int, x.shape[:2]), *map(int, area))
    arithmetic = reduction(kind, sizes, window)
    assert arithmetic is not None
    return tracer.row(kind, operation, [x], sizes, x.origin, arithmetic)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _paddings(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, int]) -> tuple[int, ...] | None:
    """The padding of height and width; None where torch pads in an operation of its own."""
    if padding == "valid":
        return (0, 0)
    if padding != "same":
        return tuple(2 * p for p in _pair(padding))
    added = tuple(d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
    return None if any(n % 2 for n in added) else added
