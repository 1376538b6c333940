"""Processes that are started without the program's main module, which may be a script without a guard."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def without_main() -> Iterator[None]:
    """Processes of `multiprocessing` that are started within it do not run the main module again."""
    main = sys.modules["__main__"]
    # What it would run is the file of whatever goes by that name now.
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
