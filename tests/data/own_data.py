"""Functions that are asked for a task, good and bad."""

from pathlib import Path

from searcher import tasks
from searcher.tasks.base import Task


def make() -> Task:
    return tasks.entry("digits").load()


def raises() -> Task:
    raise ValueError("no such server")


def ends() -> Task:
    raise SystemExit(3)


def needs(folder: Path, other: int = 2) -> Task:
    return make()


def returns_no_task() -> str:
    return "digits"


no_function = 3
