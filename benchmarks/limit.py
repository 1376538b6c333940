"""The limit that a device sets to a training step: operations and bytes against two measured ceilings.

The operations are those of matrix products and convolutions, forward and backward, as
`torch.utils.flop_counter` counts them, two a multiplication with its addition. The bytes are those that the
step's kernels read and write, launched one after another. The ceilings are what a large matrix product and a
large copy reach on the same device in the same run. A step at 100 % leaves nothing to a better loop, only to
kernels that do more at once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

REPEATS = 5


@dataclass(frozen=True)
class Work:
    """The operations and the bytes of some work."""

    operations: float
    bytes: float

    def seconds(self, ceilings: "Work") -> float:
        """The least time that a device of these ceilings, each in a second, takes."""
        return max(self.operations / ceilings.operations, self.bytes / ceilings.bytes)


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The bytes of the tensors that operators read and write; views move none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        places = {x.data_ptr() for x in read}
        written = [x for x in tree_leaves(outputs) if isinstance(x, Tensor)]
        view = bool(written) and all(x.data_ptr() in places for x in written)
        if not view or func._schema.is_mutable:
            self.bytes += sum(x.numel() * x.element_size() for x in [*read, *written])
        return outputs


def work(step: Callable[[], object]) -> Work:
    """The work of a step."""
    with FlopCounterMode(display=False) as operations:
        step()
    with _Traffic() as traffic:
        step()
    return Work(operations.get_total_flops(), traffic.bytes)


def ceilings(device: torch.device, dtype: torch.dtype) -> Work:
    """The operations and the bytes that a device does in a second, the best of some tries."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.empty(1 << (30 if device.type == "cuda" else 27), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return Work(
        2 * size**3 / _fastest(lambda: a @ b, device),
        2 * source.numel() / _fastest(lambda: target.copy_(source), device),
    )


def _fastest(run: Callable[[], object], device: torch.device) -> float:
    """The seconds of the fastest of some runs."""
    seen = []
    for _ in range(REPEATS):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        seen.append(time.perf_counter() - started)
    return min(seen)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
