"""The storage of trials: SQLite, a journal file, or a database server; each runs folder keeps its own."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import sqlalchemy.exc
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from searcher.errors import SearcherError, nearest, no_room
from searcher.files import in_one_step
from searcher.searching.storage.guarded import Database, Journal, broken, standing

SQLITE, JOURNAL, POSTGRESQL = "sqlite", "journal", "postgresql"
_CHOICE = "storage.txt"
_LOCK = "storage.lock"
_DATABASE, _LOG = "optuna.db", "optuna.journal"
_KEPT = {SQLITE: _DATABASE, JOURNAL: _LOG}
NETWORK = {
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb3",
    "glusterfs",
    "panfs",
    "afs",
    "9p",
}
"""File systems that several hosts share, on which SQLite's locks cannot be relied upon."""


def make_runs(runs: Path) -> None:
    """Make a runs folder, where it is not there yet.

    Raises:
        SearcherError: The folder cannot be written.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        (runs / _LOCK).touch()
    except OSError as error:
        raise SearcherError(f"the runs folder {runs} cannot be written: {error.strerror}") from error


def choose(runs: Path, asked: str | None, *, cluster: bool = False) -> None:
    """Settle where a runs folder keeps its trials; the first choice stays.

    Args:
        runs: The runs folder, which must be there.
        asked: ``sqlite``, ``journal``, a URL that begins with ``postgresql://``. Where it is None, a journal
            on a file system that hosts share and for many trials at once, of which it is the quicker one.
        cluster: Whether trials run on a cluster.

    Raises:
        SearcherError: It is none of these, or the folder keeps its trials elsewhere.
    """
    if asked and asked not in (SQLITE, JOURNAL) and not _is_url(asked):
        raise SearcherError(
            f"--storage {asked}: expected sqlite, journal or a URL postgresql://USER@HOST/DATABASE"
            f"{nearest(asked, [SQLITE, JOURNAL, POSTGRESQL])}"
        )
    with _alone(runs):
        before = _choice(runs)
        if before is None:
            _settle(runs, asked or _fitting(runs, cluster=cluster))
        elif asked not in (None, before):
            raise SearcherError(
                f"--storage {shown(asked or '')}: {runs} keeps its trials in {shown(before)}; "
                "take another --runs-dir"
            )


def _settle(runs: Path, choice: str) -> None:
    """Write the choice down in one step."""
    with in_one_step(runs / _CHOICE) as part:
        part.touch(mode=0o600)  # a URL may hold a password
        part.write_text(f"{choice}\n", encoding="utf-8")


def shown(choice: str) -> str:
    """A choice as it may be printed, without a password."""
    return sqlalchemy.engine.make_url(choice).render_as_string() if _is_url(choice) else choice


def _is_url(text: str) -> bool:
    return text.startswith((f"{POSTGRESQL}://", f"{POSTGRESQL}+"))


def _choice(runs: Path) -> str | None:
    """The storage that a runs folder has settled on; None where nothing is settled yet.

    Raises:
        SearcherError: The runs folder is a file, or what it has written down is no choice.
    """
    try:
        text = (runs / _CHOICE).read_bytes().decode(errors="replace").strip()
    except FileNotFoundError:
        return SQLITE if (runs / _DATABASE).is_file() else None
    except NotADirectoryError as error:
        raise SearcherError(f"the runs folder {runs} is no folder") from error
    if text in (SQLITE, JOURNAL) or (_is_url(text) and text.isprintable()):
        return text
    raise SearcherError(
        f"{runs / _CHOICE} is damaged: {text[:20]!r}, expected {SQLITE}, {JOURNAL} or the URL of a database: "
        f"write again into it where the trials are{_files(runs)}{standing(runs)}"
    )


def _files(runs: Path) -> str:
    """The storages that lie in a runs folder, as the end of a message."""
    found = [f"{kind} ({name})" for kind, name in _KEPT.items() if (runs / name).is_file()]
    return f"; in the folder: {', '.join(found)}" if found else ""


def _fitting(runs: Path, *, cluster: bool) -> str:
    return JOURNAL if cluster or file_system(runs) in NETWORK else SQLITE


def file_system(path: Path) -> str:
    """The type of the file system that a path is on, as the kernel names it; empty where it does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place = path.resolve()
    deepest, found = 0, ""
    for line in mounts:  # what is mounted later hides what was before
        _, point, kind, *_ = line.split(" ")
        where = Path(point.encode().decode("unicode_escape"))
        if (place == where or where in place.parents) and len(where.parts) >= deepest:
            deepest, found = len(where.parts), kind
    return found.removeprefix("fuse.")


def is_stored(runs: Path) -> bool:
    """Whether anything was ever stored in a runs folder."""
    choice = _choice(runs)
    if choice is None or _is_url(choice):
        return choice is not None
    return (runs / _KEPT[choice]).is_file()


def reopen_storage(runs: Path) -> BaseStorage:
    """The storage of a runs folder, to be read: as it was opened last, where nobody has written since.

    Raises:
        SearcherError: As `open_storage` does.
    """
    choice = _choice(runs) or SQLITE
    if _is_url(choice):
        return open_storage(runs)
    try:
        stat = (runs / _KEPT[choice]).stat()
    except OSError:
        return open_storage(runs)
    return _opened(runs.absolute(), runs, (choice, stat.st_ino, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=1)
def _opened(_absolute: Path, runs: Path, _as_it_lies: tuple[object, ...]) -> BaseStorage:
    return open_storage(runs)


def open_storage(runs: Path) -> BaseStorage:
    """The storage of a runs folder; what it raises later of itself is a `SearcherError` too.

    Raises:
        SearcherError: It is damaged, or cannot be opened or reached.
    """
    choice = _choice(runs) or SQLITE
    place = shown(choice) if _is_url(choice) else str(runs / _KEPT[choice])
    try:
        if choice == JOURNAL:
            path = runs / _LOG
            return Journal(JournalFileBackend(str(path), lock_obj=_Lock(path)), place, runs)
        if _is_url(choice):
            return Database(_with_driver(choice), place, runs, pool_pre_ping=True)
        with _alone(runs):
            return Database(_address(runs / _DATABASE), place, runs, connect_args={"timeout": 60})
    except ImportError as error:
        raise SearcherError(
            f"{shown(choice)} needs psycopg: pip install 'psycopg[binary]' ({error})"
        ) from error
    except SearcherError:
        raise
    except Exception as error:  # of SQLAlchemy, Alembic, SQLite or Optuna
        if no_room(error):
            raise
        raise broken(place, error, runs) from error


def _address(database: Path) -> str:
    """The URL of a SQLite file: as a URI, in which a path may hold any character."""
    uri = f"file:{quote(str(database.absolute()))}"
    return sqlalchemy.engine.URL.create("sqlite", database=uri, query={"uri": "true"}).render_as_string()


def _with_driver(url: str) -> str:
    """SQLAlchemy takes psycopg 2 where a URL names no driver."""
    return url.replace(f"{POSTGRESQL}://", f"{POSTGRESQL}+psycopg://", 1)


@contextmanager
def _alone(runs: Path) -> Iterator[None]:
    """Keep others out: whoever comes first settles where trials are stored, and makes the tables."""
    try:
        lock = (runs / _LOCK).open("a")
    except OSError:  # only reading is possible here
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Lock(JournalFileOpenLock):
    """Whoever writes next first cuts off a last line that a crash or a full disk has torn.

    Behind a torn line nothing could be read any more. A lock that is left over is taken after 30 seconds.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def acquire(self) -> bool:
        taken = super().acquire()
        _mend(self._path)
        return taken


def _torn(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _mend(path: Path) -> None:
    """Cut the file after its last whole line."""
    if _torn(path):
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
