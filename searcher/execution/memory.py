"""The memory of this process's GPU, and the errors of one that has none left."""

import torch

from searcher.execution.messages import GpuMemory

_GIB = 1024**3
# What CUDA and its libraries say where it was not torch that asked for memory.
_SAID = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def gpu_memory(gpu: int) -> GpuMemory | None:
    """What this process holds of a GPU; None where it has not used one, or cannot say."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    try:
        free, total = torch.cuda.mem_get_info(gpu)
        peak, reserved = torch.cuda.max_memory_reserved(gpu), torch.cuda.memory_reserved(gpu)
    except RuntimeError:  # an error of CUDA comes up in whatever is called next
        return None
    return GpuMemory(peak, reserved, free, total)


def ran_out(error: BaseException | None) -> bool:
    """Whether an error comes of a GPU without memory, be it by way of others."""
    while error:
        if isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in _SAID):
            return True
        error = error.__cause__ or error.__context__
    return False


def reason(memory: GpuMemory | None) -> str:
    """Why a trial failed that found no memory, in one line."""
    if not memory:
        return "out of GPU memory"
    own, total = memory.peak / _GIB, memory.total / _GIB
    return f"out of GPU memory: it held up to {own:.1f} GiB of {total:.1f}"
