"""Objects that Python code was given, a network or a task: named by the file that keeps them."""

import functools
import pickle
from pathlib import Path
from typing import Any

from searcher.errors import SearcherError, first_line

SUFFIX = ".pkl"
_PREFIX = "given:"


def named(file: Path) -> str:
    """The name of what a file ``WORD-DIGEST.pkl`` keeps, as a study has it."""
    return f"{_PREFIX}{file}"


def is_given(name: str) -> bool:
    """Whether a model or a task is named by the file that keeps it."""
    return name.startswith(_PREFIX)


def word(name: str) -> str:
    """What a reader calls it: the name of its class, or of its function."""
    return Path(name).stem.rpartition("-")[0]


def called(name: str) -> str:
    """A model or a task as a reader says it: what is given by its word, what is named by its name."""
    return word(name) if is_given(name) else name


def digest(name: str) -> str:
    """The digest of its content."""
    return Path(name).stem.rpartition("-")[2]


@functools.lru_cache(maxsize=8)
def load(name: str) -> Any:
    """The object, read once in a process: not to be changed.

    Raises:
        SearcherError: The file is gone, or what it needs cannot be imported.
    """
    file = Path(name.removeprefix(_PREFIX))
    try:
        with file.open("rb") as content:
            return pickle.load(content)
    except FileNotFoundError as error:
        raise SearcherError(f"{word(name)}: {file} is gone; searcher.search writes it again") from error
    except Exception as error:  # whatever the code of a user's module raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise SearcherError(f"{word(name)}: {file} cannot be read: {reason}") from error
