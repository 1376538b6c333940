"""What a network will cost, from shapes alone: its forward is called with sizes in the place of tensors."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.costs.channels import Channels, Part
from searcher.costs.kinds import (
    Arithmetic,
    Sizes,
    convolution,
    dot_products,
    elementwise,
    reduction,
    window_of,
)
from searcher.costs.op import Op
from searcher.costs.record import Recorder, mark_folds
from searcher.costs.scope import Scope


def outline(
    model: nn.Module, sizes: Sizes, kept: Mapping[int, int] | None = None
) -> tuple[list[Op], Channels]:
    """The operations that a network will execute, and how its channels depend on each other.

    Nothing is computed, so the network may be on the meta device. The common operations take microseconds;
    any other is run on the meta device.

    Args:
        model: The network, in eval mode or not.
        sizes: Those of the input, (1, C, H, W) for images.
        kept: After structured pruning, the output channels of convolutions by the id of their weight.
    """
    walker = _Walker(model, kept or {})
    with walker.scope.entered(model):
        model(Shape(walker, sizes, [(None, sizes[1])]))
    return mark_folds(walker.ops), walker.channels


class Shape:
    """Stands for an activation: its sizes, where its channels come from, and the row that wrote it."""

    requires_grad = False
    is_cuda = False
    is_quantized = False
    dtype = torch.float32
    device = torch.device("meta")

    def __init__(
        self, walker: "_Walker", sizes: Sizes, parts: list[Part], producer: int | None = None
    ) -> None:
        self.walker = walker
        self.shape = torch.Size(sizes)
        self.parts = parts
        self.producer = producer

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every function of torch that is called with a shape comes here."""
        flat = [item for arg in args for item in (arg if isinstance(arg, list | tuple) else [arg])]
        walker = next(item for item in flat if isinstance(item, Shape)).walker
        return walker.call(func, args, kwargs or {})

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def size(self, dim: int | None = None) -> Any:
        """All sizes, or one."""
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return self.shape.numel()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(Tensor, name)
        return lambda *args, **kwargs: self.walker.call(method, (self, *args), kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self.walker.call(Tensor.__getitem__, (self, index), {})

    def __add__(self, other: Any) -> Any:
        return self.walker.call(torch.add, (self, other), {})

    def __sub__(self, other: Any) -> Any:
        return self.walker.call(torch.sub, (self, other), {})

    def __mul__(self, other: Any) -> Any:
        return self.walker.call(torch.mul, (self, other), {})

    def __truediv__(self, other: Any) -> Any:
        return self.walker.call(torch.div, (self, other), {})

    def __matmul__(self, other: Any) -> Any:
        return self.walker.call(torch.matmul, (self, other), {})

    __radd__ = __iadd__ = __add__
    __rmul__ = __imul__ = __mul__


class _Walker:
    """Answers the functions of torch with shapes, and writes down a row for each."""

    def __init__(self, model: nn.Module, kept: Mapping[int, int]) -> None:
        self.model = model
        self.kept = kept
        self.scope = Scope(model)
        self.channels = Channels()
        self.ops: list[Op] = []
        self.charged: set[int] = set()
        self.quick: dict[Any, Callable[..., Shape | None]] = {
            torch.conv2d: self._conv,
            F.batch_norm: self._batch_norm,
            F.relu: self._relu,
            torch.relu: self._relu,
            torch.cat: self._cat,
            torch.add: self._add,
            F.avg_pool2d: self._avg_pool,
            F.adaptive_avg_pool2d: self._adaptive_avg_pool,
            torch.flatten: self._flatten,
            F.linear: self._linear,
        }

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What the function returns, in shapes."""
        quick = self.quick.get(func)
        answer = quick(*args, **kwargs) if quick else None
        return self._on_meta(func, args, kwargs) if answer is None else answer

    def _row(
        self, kind: str, operation: str, inputs: list[Shape], sizes: Sizes, parts: list[Part],
        arithmetic: Arithmetic, *, key: Any = None, weights: int = 0, biases: int = 0,
    ) -> Shape:  # fmt: skip
        new = key is None or id(key) not in self.charged
        self.charged.add(id(key))
        producers = sorted({x.producer for x in inputs if x.producer is not None})
        op = Op(
            self.scope.name(kind),
            kind,
            operation,
            tuple(tuple(x.shape) for x in inputs),
            sizes,
            arithmetic,
            weights=weights * new,
            nonzero=weights * new,
            biases=biases * new,
            weight_bits=32 if weights else None,
            effective_bits=32 if weights else None,
            producers=tuple(producers),
        )
        self.ops.append(op)
        return Shape(self, sizes, parts, len(self.ops) - 1)

    def _conv(
        self, x: Shape, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Shape | None:  # fmt: skip
        if isinstance(padding, str) or not all(isinstance(v, tuple) for v in (stride, padding, dilation)):
            return None
        channels, made, kernel = int(x.shape[1]), int(weight.shape[0]), tuple(weight.shape[2:])
        if groups == made == int(weight.shape[1]) * groups:
            made = groups = channels
            self.channels.read_in_groups(x.parts, 1)
            parts = x.parts
        else:
            if groups == made > 1:
                self.channels.fix([*x.parts, (id(weight), made)])
            elif groups > 1:
                self.channels.read_in_groups(x.parts, groups)
            made = self.kept.get(id(weight), made)
            self.channels.add(id(weight), made, groups)
            parts = [(id(weight), made)]
        area = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
        )
        sizes = (int(x.shape[0]), made, *map(int, area))
        shape = (made, channels // groups, *kernel)
        arithmetic = convolution(tuple(x.shape), sizes, shape, groups=groups, bias=bias is not None)
        weights, biases = math.prod(shape), 0 if bias is None else made
        return self._row(
            "conv",
            "aten::convolution",
            [x],
            sizes,
            parts,
            arithmetic,
            key=weight,
            weights=weights,
            biases=biases,
        )

    def _linear(self, x: Shape, weight: Tensor, bias: Tensor | None = None) -> Shape | None:
        if x.ndim != 2:
            return None
        made, length = int(weight.shape[0]), int(x.shape[1])
        sizes = (int(x.shape[0]), made)
        arithmetic = dot_products(math.prod(sizes), length, bias=bias is not None)
        biases = 0 if bias is None else made
        return self._row(
            "linear", "aten::addmm", [x], sizes, [(None, made)], arithmetic,
            key=weight, weights=made * length, biases=biases,
        )  # fmt: skip

    def _batch_norm(
        self, x: Shape, mean: Any, var: Any, weight: Any = None, bias: Any = None, *rest: Any, **options: Any
    ) -> Shape:
        biases = int(x.shape[1]) * sum(p is not None for p in (weight, bias))
        return self._same("batch_norm", "aten::native_batch_norm", x, key=weight, biases=biases)

    def _relu(self, x: Shape, inplace: bool = False) -> Shape:
        return self._same("relu", "aten::relu", x)

    def _same(self, kind: str, operation: str, x: Shape, **held: Any) -> Shape:
        sizes = tuple(x.shape)
        arithmetic = elementwise(kind, sizes)
        assert arithmetic is not None
        return self._row(kind, operation, [x], sizes, x.parts, arithmetic, **held)

    def _cat(self, tensors: Any, dim: int = 0) -> Shape | None:
        if dim != 1 or not all(isinstance(x, Shape) for x in tensors):
            return None
        first = tensors[0].shape
        sizes = (int(first[0]), sum(int(x.shape[1]) for x in tensors), *map(int, first[2:]))
        parts = [part for x in tensors for part in x.parts]
        return self._row("cat", "aten::cat", list(tensors), sizes, parts, Arithmetic(0, 0))

    def _add(self, x: Any, y: Any) -> Shape | None:
        if not isinstance(x, Shape) or not isinstance(y, Shape) or x.shape != y.shape:
            return None
        self.channels.tie(x.parts, y.parts)
        arithmetic = elementwise("add", tuple(x.shape))
        assert arithmetic is not None
        return self._row("add", "aten::add", [x, y], tuple(x.shape), x.parts, arithmetic)

    def _avg_pool(
        self, x: Shape, kernel: Any, stride: Any = None, padding: Any = 0, *rest: Any
    ) -> Shape | None:
        plain = isinstance(kernel, int) and stride in (None, kernel) and padding == 0 and not any(rest[:1])
        if not plain or x.shape[2] % kernel or x.shape[3] % kernel:
            return None
        sizes = (*map(int, x.shape[:2]), int(x.shape[2]) // kernel, int(x.shape[3]) // kernel)
        arithmetic = reduction("avg_pool", sizes, window_of(kernel))
        assert arithmetic is not None
        return self._row("avg_pool", "aten::avg_pool2d", [x], sizes, x.parts, arithmetic)

    def _adaptive_avg_pool(self, x: Shape, output_size: Any) -> Shape | None:
        if output_size not in (1, (1, 1)):
            return None
        sizes = (*map(int, x.shape[:2]), 1, 1)
        arithmetic = reduction("mean", sizes, int(x.shape[2] * x.shape[3]))
        assert arithmetic is not None
        return self._row("mean", "aten::mean", [x], sizes, x.parts, arithmetic)

    def _flatten(self, x: Shape, start_dim: int = 0, end_dim: int = -1) -> Shape | None:
        if start_dim != 1 or end_dim != -1:
            return None
        sizes = (int(x.shape[0]), math.prod(map(int, x.shape[1:])))
        return Shape(self, sizes, x.parts, x.producer)

    def _on_meta(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run the function on the meta device and read the rows off what it dispatches."""
        shapes: list[Shape] = []

        def to_meta(value: Any) -> Any:
            if isinstance(value, Shape):
                shapes.append(value)
                return tensors.setdefault(id(value), torch.empty(value.shape, device="meta"))
            if isinstance(value, Tensor):
                return value.to("meta") if value.device.type != "meta" else value
            if isinstance(value, list | tuple):
                return type(value)(map(to_meta, value))
            return value

        tensors: dict[int, Tensor] = {}
        args, kwargs = to_meta(tuple(args)), {key: to_meta(value) for key, value in kwargs.items()}
        recorder = Recorder(self.model, self.scope, self.ops)
        for shape in shapes:
            recorder.follow(tensors[id(shape)], shape.producer)
        with recorder:
            output = func(*args, **kwargs)
        return self._from_meta(output, shapes, recorder)

    def _from_meta(self, value: Any, inputs: list[Shape], recorder: Recorder) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._from_meta(item, inputs, recorder) for item in value)
        if not isinstance(value, Tensor):
            return value
        return Shape(self, tuple(value.shape), self._parts(value, inputs), recorder.producer(value))

    def _parts(self, output: Tensor, inputs: list[Shape]) -> list[Part]:
        """The channels pass through an operation that leaves their number; else they stay whole."""
        width = int(output.shape[1]) if output.dim() > 1 else 0
        same = [x for x in inputs if x.ndim == output.dim() and int(x.shape[1]) == width]
        if same and len(same) == len(inputs):
            for other in same[1:]:
                self.channels.tie(same[0].parts, other.parts)
            return same[0].parts
        for x in inputs:
            self.channels.fix(x.parts)
        return [(None, width)]
