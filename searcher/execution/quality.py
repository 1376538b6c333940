"""Quality of a finished network: the device that it is read on, and in which arithmetic."""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from searcher.compression.heap import kept_heap
from searcher.compression.network import Network
from searcher.errors import first_line
from searcher.execution.steps import Step, unsaid

CPU = torch.device("cpu")

T = TypeVar("T")


def device_for(network: Network, device: torch.device) -> torch.device:
    """The device that a network's quality is read on: the one at hand; int8 is executed on the CPU alone."""
    return CPU if network.prepared is not None else device


@kept_heap()
def read(
    network: Network,
    device: torch.device,
    reading: Callable[[nn.Module], T],
    name: str = "",
    step: Step = unsaid,
) -> T:
    """The result of a reading of what is executed of a network, in the arithmetic of what deploys.

    A GPU is given a copy, for this reading alone. Where it cannot have it or compute with it, the reading
    begins anew on the CPU, and a step says why.

    Args:
        network: The finished network, on the CPU.
        device: The device at hand.
        reading: From a network in eval mode to what is wanted.
        name: Of the step that the reading is.
        step: Told where the CPU has to step in.
    """
    where = device_for(network, device)
    if where.type != CPU.type:
        try:
            with full_precision():
                return reading(copy.deepcopy(network.executed).to(where).eval())
        except RuntimeError as error:  # out of memory is one too
            step(f"{name} on the CPU, as {where} cannot: {first_line(error)}")
    return reading(network.executed.eval())


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 in all its digits on a GPU: without TF32, which cuDNN's convolutions take by default."""
    cudnn: Any = torch.backends.cudnn
    with ExitStack() as stack:
        for operations in (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul):
            stack.callback(setattr, operations, "fp32_precision", operations.fp32_precision)
            operations.fp32_precision = "ieee"
        yield
