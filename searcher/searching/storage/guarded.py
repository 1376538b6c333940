"""Optuna's storages whose own errors are one message: damaged, locked, or out of reach."""

import inspect
import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend

from searcher.errors import SearcherError, no_room
from searcher.execution.layout import RESULT

_BROKEN = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
_READS = ("get_", "_get_")


def standing(runs: Path) -> str:
    """The number of trials with a result in a runs folder, and how to go on without its storage."""
    count = sum(1 for _ in runs.glob(f"*/trial-*/{RESULT}"))
    if not count:
        return ""
    return (
        f"; {count} trials still stand in {runs}/STUDY/trial-NUMBER (recipe.toml, {RESULT}): "
        "put a copy of the storage back, or search anew in another --runs-dir"
    )


def broken(place: str, error: BaseException, runs: Path) -> SearcherError:
    """The message of an error that a storage has raised, in one line.

    Args:
        place: The storage's file, or its address without a password.
        error: What was raised.
        runs: The runs folder whose storage it is.
    """
    cause = getattr(error, "orig", None) or error.__cause__ or error
    said = (str(cause).splitlines() or [""])[0]
    name = "" if isinstance(cause, Exception) and _speaks(cause) else f"{type(cause).__name__}: "
    return SearcherError(f"{place} cannot be used: {name}{said}{standing(runs)}")


def _speaks(error: Exception) -> bool:
    """Whether an error's text is a sentence: that of a missing key is the key alone."""
    return not isinstance(error, LookupError | AssertionError | TypeError | AttributeError) and bool(
        str(error)
    )


class _Guarded:
    """Turns what a storage raises of itself into a `SearcherError`; a full disk is told by the driver."""

    place: str
    runs: Path

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("__") or not inspect.ismethod(found):
            return found
        return _guarded(found, self, reads=name.startswith(_READS))


def _guarded(method: Callable[..., Any], storage: _Guarded, *, reads: bool) -> Callable[..., Any]:
    # Optuna itself asks for what may be absent: a KeyError is an answer. What else reading raises is damage.
    answers = (SearcherError, KeyError)

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except answers:
            raise
        except Exception as error:
            if no_room(error) or not (reads or isinstance(error, _BROKEN)):
                raise
            raise broken(storage.place, error, storage.runs) from error

    return call


class Database(_Guarded, RDBStorage):
    """A database; `place` is what a message calls it."""

    def __init__(self, url: str, place: str, runs: Path, **engine: Any) -> None:
        self.place, self.runs = place, runs
        super().__init__(url, engine_kwargs=engine)


class Journal(_Guarded, JournalStorage):
    """A journal file; a line of it that cannot be followed is damage."""

    def __init__(self, backend: BaseJournalBackend, place: str, runs: Path) -> None:
        self.place, self.runs = place, runs
        self._wrote = False
        super().__init__(backend)

    def _write_log(self, *args: Any, **kwargs: Any) -> None:
        super()._write_log(*args, **kwargs)
        self._wrote = True

    def _sync_with_backend(self) -> None:
        wrote, self._wrote = self._wrote, False
        try:
            super()._sync_with_backend()
        except Exception as error:
            # Of what it has just written itself Optuna says so whether it holds.
            if no_room(error) or (wrote and _refuses(error)):
                raise
            line = self._replay_result.log_number_read
            raise broken(f"{self.place}, at line {line},", error, self.runs) from error


def _refuses(error: Exception) -> bool:
    """Whether an error is Optuna's answer to what was asked for, and none of the file."""
    asked = (optuna.exceptions.OptunaError, KeyError, ValueError)
    return isinstance(error, asked) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError)
