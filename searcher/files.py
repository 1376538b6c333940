"""Files that appear whole, so that who reads one never finds half of it, and their locks."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def in_one_step(path: Path) -> Iterator[Path]:
    """A path to write to within; what was written there becomes `path` at the end, or is removed.

    Raises:
        OSError: The file cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock within; waits while another process holds it, however that one ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
