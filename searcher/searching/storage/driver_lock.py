"""The lock of a stored study's driver: one process at a time, which others may ask to end."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from searcher.errors import SearcherError

_LOCK, _CANCEL = "driver.lock", "cancel"


@contextmanager
def one_driver(folder: Path, *, drives: bool = True) -> Iterator[None]:
    """Hold a study's lock; the operating system drops it when this process ends, however it ends.

    Args:
        folder: The study's, in the runs folder.
        drives: Whether to drive it; otherwise only to keep drivers out.

    Raises:
        SearcherError: Another driver holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+") as lock:
        try:
            _take(lock)
        except BlockingIOError as error:
            lock.seek(0)
            raise SearcherError(f"another driver runs this study: {lock.read().strip()}") from error
        except OSError as error:
            raise SearcherError(
                f"{folder / _LOCK} cannot be locked ({error.strerror}): the file system must support flock; "
                "see docs/cluster.md"
            ) from error
        if drives:
            lock.truncate(0)
            lock.write(f"{socket.gethostname()} pid {os.getpid()}\n")
            lock.flush()
        yield


def _take(lock: TextIO) -> None:
    """Take a lock, also where `driver` looks at it at the same moment."""
    for _ in range(10):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.02)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def driver(folder: Path) -> str | None:
    """The host and process id of a study's driver, None where none runs."""
    try:
        with (folder / _LOCK).open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().strip() or "a driver"
    except OSError:
        pass
    return None


def last_driven(folder: Path) -> float:
    """The time at which a study was driven last, in seconds since 1970; 0 for never."""
    lock = folder / _LOCK
    return lock.stat().st_mtime if lock.exists() else 0.0


def cancel(folder: Path) -> None:
    """Ask a study's driver to end, and its trials with it."""
    (folder / _CANCEL).touch()


def is_cancelled(folder: Path) -> bool:
    """Whether the driver was asked to end."""
    return (folder / _CANCEL).exists()


def uncancel(folder: Path) -> None:
    """Forget what was asked of an earlier driver."""
    (folder / _CANCEL).unlink(missing_ok=True)
