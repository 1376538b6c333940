"""The precision in which a network is trained."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import MethodType

import torch
from torch import Tensor, nn

from searcher.config.stages.base import Precision


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
def narrow_convolutions_in_fp32(model: nn.Module, device: torch.device) -> Iterator[None]:
    """On the CPU, keep convolutions of images that are narrower than their stride out of autocast.

    In bf16 oneDNN 3.12, of torch 2.13, does not write all of the gradient of their weights: what was in the
    memory before stays there, NaN among it. Seen with kernels of 3 to 7, in channels_last and contiguous, in
    one group and in many, where the processor has AVX-512.
    """
    strided = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.stride[1] > 1]
    patched = strided if device.type == "cpu" else []
    for module in patched:
        module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in patched:
            del module.forward


def _forward(module: nn.Conv2d, images: Tensor) -> Tensor:
    if images.shape[-1] >= module.stride[1]:
        return type(module).forward(module, images)
    with torch.autocast("cpu", enabled=False):
        return type(module).forward(module, images.to(module.weight.dtype))
