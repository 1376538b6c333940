"""A stand-in for a tensor that has sizes alone, to trace a forward pass without computing it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from searcher.costs.arithmetic import Arithmetic, Sizes
from searcher.costs.counting.tensors import leaves
from searcher.costs.shapes.channels import Channels, Origin


class Tracer(Protocol):
    """Whoever answers the functions of torch that are called with a shape, and writes down a row for each.

    Attributes:
        kept: The output channels of pruned convolutions, by the id of their weight.
        channels: How the channels depend on each other.
    """

    kept: Mapping[int, int]
    channels: Channels

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The shapes that the function returns."""

    def row(
        self, kind: str, operation: str, inputs: list["Shape"], sizes: Sizes, origin: Origin,
        arithmetic: Arithmetic, *, weight: Tensor | None = None, weights: int = 0, biases: int = 0,
    ) -> "Shape":  # fmt: skip
        """Write a row down; it has the parameters that no other has."""

    def new(self, parameter: Tensor | None, size: int) -> int:
        """The size of a parameter as it is after pruning, or 0 where a row has it already."""

    def runs(self, weight: Tensor, kind: type[nn.Module]) -> bool:
        """Whether the module that runs is of a kind and has this weight."""

    def again(self, parameter: Tensor | None) -> bool:
        """Whether a layer runs that has run before."""

    def reads(self, parameter: Tensor, origin: Origin) -> bool:
        """Whether a layer that reads channels has run before; it loses the same of all that it reads."""


def _asked(name: str) -> Callable[..., Any]:
    method = getattr(Tensor, name)
    return lambda self, *args: self.walker.call(method, (self, *args), {})


class Shape:
    """Stands for an activation: its sizes, where its channels come from, and the row that wrote it."""

    requires_grad = False
    is_cuda = False
    is_quantized = False
    device = torch.device("meta")

    def __init__(
        self,
        walker: Tracer,
        sizes: Sizes,
        origin: Origin,
        producer: int | None = None,
        tensor: Tensor | None = None,
    ) -> None:
        self.walker = walker
        self.shape = torch.Size(sizes)
        self.origin = origin
        self.producer = producer
        self.dtype = torch.float32 if tensor is None else tensor.dtype
        self.meta = tensor

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every function of torch that is called with a shape comes here."""
        kwargs = kwargs or {}
        return next(shapes_in([args, *kwargs.values()])).walker.call(func, args, kwargs)

    def as_meta(self) -> Tensor:
        """A tensor of the meta device of these sizes, always the same one."""
        if self.meta is None:
            self.meta = torch.empty(self.shape, dtype=self.dtype, device="meta")
        return self.meta

    @property
    def plain(self) -> bool:
        """Whether it is stored as its sizes say, row by row, in 32 bits."""
        return self.meta is None or (self.dtype is torch.float32 and self.meta.is_contiguous())

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

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(Tensor, name)
        if not callable(attribute):
            return self.walker.call(attribute.__get__, (self,), {})
        return lambda *args, **kwargs: self.walker.call(attribute, (self, *args), kwargs)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return iter(self.walker.call(torch.unbind, (self,), {}))

    # Python looks for operators in the class, where `__getattr__` is not asked.
    __add__, __radd__, __iadd__ = map(_asked, ("__add__", "__radd__", "__iadd__"))
    __sub__, __rsub__, __isub__ = map(_asked, ("__sub__", "__rsub__", "__isub__"))
    __mul__, __rmul__, __imul__ = map(_asked, ("__mul__", "__rmul__", "__imul__"))
    __truediv__, __rtruediv__, __itruediv__ = map(_asked, ("__truediv__", "__rtruediv__", "__itruediv__"))
    __matmul__, __rmatmul__ = map(_asked, ("__matmul__", "__rmatmul__"))
    __pow__, __rpow__, __mod__, __floordiv__ = map(_asked, ("__pow__", "__rpow__", "__mod__", "__floordiv__"))
    __neg__, __abs__, __invert__, __bool__ = map(_asked, ("__neg__", "__abs__", "__invert__", "__bool__"))
    __lt__, __le__, __gt__, __ge__ = map(_asked, ("__lt__", "__le__", "__gt__", "__ge__"))
    __and__, __or__, __getitem__ = map(_asked, ("__and__", "__or__", "__getitem__"))
    __eq__, __ne__ = map(_asked, ("__eq__", "__ne__"))
    __hash__ = object.__hash__


def shapes_in(value: Any) -> Iterator[Shape]:
    """The shapes among arguments, also those inside lists, tuples and dictionaries."""
    return (leaf for leaf in leaves(value) if isinstance(leaf, Shape))
