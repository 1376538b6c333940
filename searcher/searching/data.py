"""A user's own data, as a reader is shown it: what was found, and a contact sheet."""

from pathlib import Path

from searcher import tasks
from searcher.config.study import Study
from searcher.tasks import sheet
from searcher.tasks.base import Task
from searcher.wording import several

SHEET = "data.png"
"""In a study's folder."""


def lines(task: Task) -> list[str]:
    """What data was found to be, how it was split, and what was left out."""
    dropped = (f"left out or changed: {count} × {reason}" for reason, count in task.dropped.items())
    return [*(task.found or [_sizes(task)]), *dropped]


def _sizes(task: Task) -> str:
    parts = {"train": task.train, "validation": task.validation, "test": task.test}
    sizes = ", ".join(f"{len(split):,} {part}" for part, split in parts.items())
    return f"images: {sizes}; {'×'.join(map(str, task.image))}, {several(task.classes, 'class')}"


def save_sheet(study: Study, runs: Path, task: Task | None = None) -> Path | None:
    """Draw the contact sheet of a study on a user's own data into the study's folder.

    Returns:
        The file; None where the study's task is one of those that come by name, or nothing can be written.

    Raises:
        SearcherError: The data cannot be used.
    """
    if study.task in tasks.TASKS:
        return None
    path = runs / study.stored_name / SHEET
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(task or tasks.of(study).load(), path)
    except OSError:
        return None
    return path
