"""The memory that this process holds while networks run, and after."""

import contextlib
import ctypes
import os
import platform
import resource
from pathlib import Path

import pytest
import torch

from searcher.compression import heap
from searcher.compression.heap import kept_heap

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not glibc")
MIB = 1024**2
BLOCK = 256


def held() -> float:
    """The resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def use() -> None:
    """Fill a block, which is freed as this returns."""
    torch.ones(BLOCK * MIB // 4)


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nothing_free() -> None:
    """Other tests leave free memory, which a block would take before more is had."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


@glibc
def test_freed_memory_is_kept_to_the_end_of_the_outermost():
    before = held()
    with kept_heap():
        with kept_heap():
            use()
        assert held() > before + 0.9 * BLOCK
    assert held() < before + 0.1 * BLOCK


@glibc
def test_it_goes_back_after_an_error():
    before = held()
    with contextlib.suppress(ValueError), kept_heap():
        use()
        raise ValueError
    assert held() < before + 0.1 * BLOCK
    use()
    assert held() < before + 0.1 * BLOCK


@glibc
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_an_environment_that_says_how_to_allocate_is_left_alone(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "4" if name.startswith("MALLOC") else "glibc.malloc.arena_max=4")
    before = held()
    with kept_heap():
        use()
        assert held() < before + 0.1 * BLOCK


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: pytest.fail("it was loaded"))
    with kept_heap():
        use()


@glibc
def test_a_block_of_any_size_is_kept():
    library = ctypes.CDLL(None)
    for function in (library.malloc, library.sbrk):
        function.restype = ctypes.c_void_p
    size, begin = 3 * 1024 * MIB, library.sbrk(0)
    with kept_heap():
        block = ctypes.c_void_p(library.malloc(ctypes.c_size_t(size)))  # of which nothing is written
        end = library.sbrk(0)
        if end - begin < size:
            pytest.skip("there is no room for a block of 3 GiB")
        library.free(block)
        assert library.sbrk(0) == end
    assert library.sbrk(0) < end
