"""Arithmetic that a forward does outside of torch, of which nothing can be counted."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

LEAVING = (
    Tensor.numpy,
    Tensor.__array__,
    Tensor.__dlpack__,
    Tensor.tolist,
    Tensor.item,
    Tensor.__float__,
)
"""The functions of torch by which values go to numpy, to another library, or to Python."""


class Leaving(TorchFunctionMode):
    """Tells of the tensors whose values leave torch while it is entered.

    Args:
        tell: Takes the name of the function and the tensor.
    """

    def __init__(self, tell: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._tell = tell

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function of torch, and tell where values leave by it."""
        if func in LEAVING:
            self._tell(f"Tensor.{func.__name__}", args[0])
        return func(*args, **(kwargs or {}))
