"""What a network is called with in the place of a tensor."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from searcher.costs.arithmetic import Sizes
from searcher.costs.shapes.channels import Origin


class Walker(Protocol):
    """Whoever answers the functions of torch that are called with a shape."""

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What the function returns, in shapes."""


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
        walker: Walker,
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
    if isinstance(value, Shape):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from shapes_in(item)
    elif isinstance(value, dict):
        yield from shapes_in(list(value.values()))
