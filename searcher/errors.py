"""The errors a user can cause, and the names nearest to what they typed."""

import difflib
import errno
from collections.abc import Iterable


class SearcherError(Exception):
    """Bad input: one clear message for the user; the command exits with status 2."""


class Cancelled(KeyboardInterrupt):
    """Another process has asked for the end, by `searcher cancel`."""


def unknown(kind: str, name: str, known: Iterable[str]) -> SearcherError:
    """The error for a name that is not among the known ones.

    Args:
        kind: What was asked for, e.g. ``"study"``.
        name: What was given.
        known: Every valid name; the nearest come first in the message.
    """
    return SearcherError(f"no {kind} named {name!r}{nearest(name, known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message: the known names nearest to a name, or all of them where none is near."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; known: {', '.join(names)}" if names else ""


class TrialError(Exception):
    """A recipe that cannot be executed as asked; the trial fails, the study goes on."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def no_room(error: BaseException | None) -> bool:
    """Whether an error comes of a full disk or a quota, be it by way of others."""
    while error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "database or disk is full" in str(error):  # SQLite
            return True
        error = error.__cause__ or error.__context__
    return False


def exit_reason(status: int) -> str:
    """Why a trial's process ended, by its exit status."""
    return "the disk is full" if status == errno.ENOSPC else f"ended with exit code {status}"
