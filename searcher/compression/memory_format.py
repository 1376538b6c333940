"""The memory format in which a network is trained."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

FEW = 16
"""Input channels a group below which a strided 1×1 convolution is kept from channels_last."""


@contextmanager
def laid_out(model: nn.Module, device: torch.device) -> Iterator[torch.memory_format]:
    """Bring a model to a device, in the memory format that its images are to have too: channels_last.

    On the CPU a model with a strided convolution of 1×1 and few input channels is kept contiguous, with the
    inputs of these. In channels_last oneDNN 3.10 to 3.12, of torch 2.11 to 2.14, writes the
    gradient of such an input in whole registers and so beyond its end, where the processor has AVX2 and not
    AVX-512: seen in fp32 with 2 to 7 input channels, in one group, at any stride that divides the image's
    sides.
    """
    few = _few(model) if device.type == "cpu" else []
    layout = torch.contiguous_format if few else torch.channels_last
    model.to(device, memory_format=layout)  # type: ignore[call-overload]
    with ExitStack() as stack:
        if few:
            _restride(model)
        for module in few:
            stack.callback(module.register_forward_pre_hook(_contiguous).remove)
        yield layout


def _few(model: nn.Module) -> list[nn.Conv2d]:
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    strided = (m for m in convolutions if set(m.kernel_size) == {1} and max(m.stride) > 1)
    return [module for module in strided if module.in_channels // module.groups < FEW]


def _restride(model: nn.Module) -> None:
    # A kernel of 1×1 is contiguous in both formats, and `to` leaves it in the one that it was in.
    for parameter in model.parameters():
        parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)


def _contiguous(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, contiguous: an activation may be permuted in a network that is not."""
    return tuple(x.contiguous() if isinstance(x, torch.Tensor) else x for x in inputs)
