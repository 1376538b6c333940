"""The store: what was trained once, by the digest of all that it depends on; shared by trials and studies."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searcher.errors import SearcherError
from searcher.files import locked

CONTENT = "model.safetensors"
ABOUT = "entry.json"
_LOCK, _SCRATCH, _PART = ".lock", ".training", ".part"
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class Stored:
    """An entry that was read whole: the content's bytes, and what is known about it."""

    content: bytes
    about: dict[str, Any]


@dataclass(frozen=True)
class Listed:
    """An entry, or a training that is not finished, as it lies on the disk.

    Attributes:
        digest: Its name.
        path: Its folder.
        bytes: What its files take.
        used: When it was last written or read, in seconds since 1970.
        about: What is known about it; empty for a training that is not finished.
    """

    digest: str
    path: Path
    bytes: int
    used: float
    about: dict[str, Any]


class Store:
    """A folder of entries. Any number of processes may use it at once, also on several machines.

    An entry is a folder that appears in one step and is never changed. Who makes it holds a lock, which the
    operating system drops when the process ends, however it ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, digest: str) -> Stored | None:
        """An entry, where it is there and whole; one that is damaged is dropped."""
        place = self.folder / digest
        try:
            about = json.loads((place / ABOUT).read_text(encoding="utf-8"))
            content = (place / CONTENT).read_bytes()
            if _checksum(content) != about["checksum"]:
                raise ValueError("checksum")
        except FileNotFoundError:
            if place.exists():
                self._drop(place)
            return None
        except (ValueError, KeyError, TypeError):
            self._drop(place)
            return None
        with _gone_meanwhile():
            os.utime(place)
        return Stored(content, about)

    def has(self, digest: str) -> bool:
        """Whether there is an entry, whole or not."""
        return (self.folder / digest / ABOUT).is_file()

    def _drop(self, place: Path) -> None:
        print(f"store: {place.name} is damaged, it is made again", flush=True)
        _remove(place)

    @contextmanager
    def slot(self, digest: str) -> Iterator["Slot"]:
        """Hold an entry's lock, to make the entry; waits while another process holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / f"{digest}{_LOCK}"):
            yield Slot(self, digest)

    def entries(self) -> list[Listed]:
        """Everything that the store holds, what was used last first."""
        found = [_listed(path) for path in self._folders()]
        return sorted((e for e in found if e), key=lambda e: e.used, reverse=True)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if path.is_dir()]

    def collect(self, max_bytes: int) -> list[Listed]:
        """Drop what was not used for longest until the rest fits; what is being made stays.

        Returns:
            What was dropped.
        """
        dropped: list[Listed] = []
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        for entry in reversed(entries):
            if total <= max_bytes:
                break
            with _locked_if_free(self.folder / f"{entry.digest}{_LOCK}") as free:
                if free:
                    _remove(entry.path)
                    dropped.append(entry)
                    total -= entry.bytes
        return dropped


class Slot:
    """An entry's place, while its lock is held."""

    def __init__(self, store: Store, digest: str) -> None:
        self._store, self.digest = store, digest

    def find(self) -> Stored | None:
        """The entry, where somebody has made it."""
        return self._store.find(self.digest)

    @property
    def scratch(self) -> Path:
        """A folder for the state of a training that is not finished; it outlives the process."""
        return self._store.folder / f"{self.digest}{_SCRATCH}"

    def save(self, content: bytes, about: dict[str, Any]) -> None:
        """Make the entry in one step, and drop what its making has left.

        Raises:
            SearcherError: The disk is full, or cannot be written.
        """
        place = self._store.folder / self.digest
        part = place.with_name(f"{self.digest}{_PART}.{os.getpid()}")
        try:
            part.mkdir()
            (part / CONTENT).write_bytes(content)
            told = about | {"checksum": _checksum(content)}
            (part / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")
            _remove(place)
            part.rename(place)
        except OSError as error:
            raise SearcherError(f"the store {self._store.folder} cannot be written: {error}") from error
        _remove(self.scratch)


def size(text: str) -> int:
    """Bytes from a size such as ``10GB`` or ``500 MB``.

    Raises:
        SearcherError: It is not one.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?B)\s*", text)
    if not match or len(text) > 30:
        raise SearcherError(
            f"size {text[:30]!r}: expected a number and one of {', '.join(_UNITS)}, e.g. 10GB"
        )
    return round(float(match[1]) * _UNITS[match[2].replace("K", "k")])


def size_text(count: int) -> str:
    """Bytes as a reader wants them: ``1.2 MB``."""
    unit = next((u for u in ("TB", "GB", "MB", "kB") if count >= _UNITS[u]), "B")
    return f"{count} B" if unit == "B" else f"{count / _UNITS[unit]:.1f} {unit}"


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _listed(path: Path) -> Listed | None:
    with _gone_meanwhile():
        files = [file.stat() for file in path.iterdir()]
        about_file = path / ABOUT
        try:
            about = json.loads(about_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            about = {}
        used = max([path.stat().st_mtime, *(f.st_mtime for f in files)])
        return Listed(path.name.partition(".")[0], path, sum(f.st_size for f in files), used, about)
    return None


def _remove(path: Path) -> None:
    """Take a folder out of the way in one step, then delete it."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.gone")
    with _gone_meanwhile():
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _gone_meanwhile() -> Iterator[None]:
    """Ignores files that another process has removed."""
    try:
        yield
    except FileNotFoundError:
        return


@contextmanager
def _locked_if_free(path: Path) -> Iterator[bool]:
    """Hold a lock where nobody else does; says whether it is held."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
