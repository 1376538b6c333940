"""What is stored under the runs folder: the trials of every study, in one SQLite file."""

import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from searcher.errors import SearcherError, unknown
from searcher.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_storage(runs: Path) -> RDBStorage:
    """The storage of a runs folder, made where it is not there yet.

    Raises:
        SearcherError: The folder cannot be written.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        (runs / ".write-test").touch()
        (runs / ".write-test").unlink()
    except OSError as error:
        raise SearcherError(f"the runs folder {runs} cannot be written: {error.strerror}") from error
    return RDBStorage(url(runs), engine_kwargs={"connect_args": {"timeout": 60}})


def url(runs: Path) -> str:
    """The storage's address for Optuna."""
    return f"sqlite:///{runs / 'optuna.db'}"


def has_storage(runs: Path) -> bool:
    """Whether anything was ever stored in a runs folder."""
    return (runs / "optuna.db").is_file()


def stored_names(runs: Path) -> list[str]:
    """The names of the stored studies, the one that ran last first."""
    if not has_storage(runs):
        return []
    summaries = optuna.get_all_study_summaries(open_storage(runs))
    return sorted((s.study_name for s in summaries), key=lambda name: _last_used(runs, name), reverse=True)


def _last_used(runs: Path, name: str) -> float:
    lock = runs / name / "driver.lock"
    return lock.stat().st_mtime if lock.exists() else 0.0


def resolve(runs: Path, name: str) -> tuple[str, str]:
    """The stored study that a name means, and a line where it could have meant another.

    `micronet` means the one of `micronet@digits`, `micronet@cifar10`, ... that ran last.

    Raises:
        SearcherError: None is stored under that name.
    """
    names = stored_names(runs)
    if name in names:
        return name, ""
    fitting = [stored for stored in names if stored.partition("@")[0] == name]
    if not fitting:
        raise unknown(f"study stored in {runs}", name, names)
    others = ", ".join(fitting[1:])
    return fitting[0], f"{fitting[0]} (ran last; also stored: {others})" if others else ""


def load(runs: Path, stored_name: str) -> tuple[optuna.Study, Study]:
    """A stored study's trials, and the study as it was when it ran last.

    Raises:
        SearcherError: Its first run was cut off before anything was stored.
    """
    stored = optuna.load_study(study_name=stored_name, storage=open_storage(runs))
    if "study" not in stored.user_attrs:
        raise SearcherError(f"study {stored_name} in {runs} has not begun; run it again")
    return stored, Study.model_validate_json(stored.user_attrs["study"])


def create_or_load(runs: Path, study: Study, identity: dict[str, Any]) -> optuna.Study:
    """The stored study, which must have the same identity.

    Raises:
        SearcherError: It was stored with another task, space, objectives, constraints or training budget.
    """
    storage = open_storage(runs)
    with _experimental():
        stored = optuna.create_study(
            study_name=study.stored_name,
            storage=storage,
            directions=None if _exists(storage, study) else [o.goal for o in study.objectives],
            load_if_exists=True,
        )
    before = stored.user_attrs.get("identity", identity)
    changed = [
        f"  {key}: stored {before.get(key)}, now {value}"
        for key, value in identity.items()
        if before.get(key) != value
    ]
    if changed:
        raise SearcherError(
            "\n".join(
                [
                    f"study {study.stored_name} in {runs} has changed since it was stored:",
                    *changed,
                    "change it back, or search anew: another --runs-dir, or a study file of another name",
                ]
            )
        )
    with _experimental():
        stored.set_metric_names([o.key for o in study.objectives])
    stored.set_user_attr("identity", identity)
    stored.set_user_attr("study", study.model_dump_json())
    return stored


@contextmanager
def _experimental() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _exists(storage: RDBStorage, study: Study) -> bool:
    return study.stored_name in (s.study_name for s in storage.get_all_studies())


@contextmanager
def one_driver(folder: Path) -> Iterator[None]:
    """Hold a study's lock; the operating system drops it when this process ends, however it ends.

    Raises:
        SearcherError: Another driver holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "driver.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise SearcherError(f"another driver runs this study: {lock.read().strip()}") from error
        lock.truncate(0)
        lock.write(f"{socket.gethostname()} pid {os.getpid()}\n")
        lock.flush()
        yield
