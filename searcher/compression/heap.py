"""The heap of the C library while networks run on the CPU: what tensors free is kept for the next ones.

By default glibc hands blocks of more than 32 MiB back to the system as soon as they are freed, and a training
whose activations are larger has their pages given and cleared anew in every step. How long that takes:
`benchmarks/cpu_training.py`.
"""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# The parameters of mallopt(3), as malloc.h numbers them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4

_MIB = 1024**2
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 64 * _MIB}
# glibc's defaults; its thresholds where their adaptation ends, which a call of mallopt turns off for good.
_HANDED_BACK = {
    _MMAP_MAX: 65536,
    _MMAP_THRESHOLD: 32 * _MIB,
    _TRIM_THRESHOLD: 64 * _MIB,
    _TOP_PAD: 128 * 1024,
}

_depth = 0


@contextmanager
def kept_heap() -> Iterator[None]:
    """Within it memory that the main thread frees stays this process's; it goes back at the outermost's end.

    Nothing changes where the C library is not glibc, or where the environment says how it allocates.
    """
    global _depth
    library = _glibc() if not _depth else None
    _depth += 1
    try:
        if library:
            _set(library, _KEPT)
        yield
    finally:
        _depth -= 1
        if library:
            _set(library, _HANDED_BACK)
            library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
    return None if chosen or platform.libc_ver()[0] != "glibc" else ctypes.CDLL(None)


def _set(library: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        library.mallopt(parameter, value)
