"""The precision in which a network is trained."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import MethodType

import torch
from torch import Tensor, nn

from searcher.config.stages.base import Precision

FEW = 3
"""Channels a group below which a grouped convolution's gradients are slow in bf16 on the CPU."""


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """A precision of forward passes on a device; by default bf16 where the device computes in bf16."""
    narrow = torch.float16 if precision == "fp16" else torch.bfloat16
    # A graph that is recorded would read the cache's copies of the weights for ever.
    return torch.autocast(device.type, narrow, enabled=_narrows(device, precision), cache_enabled=False)


def _narrows(device: torch.device, precision: Precision) -> bool:
    """Whether passes are in fewer bits than 32."""
    if precision != "auto":
        return precision in ("bf16", "fp16")
    # Where bf16 is emulated it is slower than fp32.
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(available and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextmanager
def convolutions_in_fp32(model: nn.Module, device: torch.device) -> Iterator[None]:
    """On the CPU, keep those convolutions out of autocast whose gradients oneDNN does badly in bf16.

    Of images that are narrower than their stride oneDNN 3.12, of torch 2.13, does not write all of the
    gradient of the weights: what was in the memory before stays there, NaN among it. Seen with kernels of
    3 to 7, in channels_last and contiguous, in one group and in many, where the processor has AVX-512.

    Of one or two channels a group the gradients take 2 to 30 times as long as in fp32, most where they
    stride; but not of depthwise kernels of 3×3 at stride 1. Seen with the same version.
    """
    modules = model.modules() if device.type == "cpu" else ()
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    slow = [m for m in convolutions if _slow(m)]
    strided = [m for m in convolutions if m.stride[1] > 1 and not _slow(m)]
    for patched, forward in ((slow, _in_fp32), (strided, _narrow_in_fp32)):
        for module in patched:
            module.forward = MethodType(forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in (*slow, *strided):
            del module.forward


def _slow(module: nn.Conv2d) -> bool:
    depthwise = module.groups == module.in_channels == module.out_channels
    fast = depthwise and max(module.kernel_size) <= 3 and max(module.stride) == 1
    return module.groups > 1 and module.in_channels // module.groups < FEW and not fast


def _narrow_in_fp32(module: nn.Conv2d, images: Tensor) -> Tensor:
    if images.shape[-1] >= module.stride[1]:
        return type(module).forward(module, images)
    return _in_fp32(module, images)


def _in_fp32(module: nn.Conv2d, images: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return type(module).forward(module, images.to(module.weight.dtype))
