"""Tasks by name: a data set with its splits and its quality metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from searcher.errors import SearcherError, unknown
from searcher.tasks import cifar10 as _cifar10
from searcher.tasks.digit_scenes import digit_scenes
from searcher.tasks.digits import digits
from searcher.tasks.task import Task


@dataclass(frozen=True)
class Entry:
    """How a task is loaded, whether its data is here, and how its data is fetched where it can be.

    `image` has the sizes of an image, channels first: what a network costs is known without the data.
    """

    load: Callable[[], Task]
    image: tuple[int, ...]
    classes: int
    available: Callable[[], bool] = lambda: True
    fetch: Callable[[], Path] | None = None
    fetch_command: str = ""


TASKS = {
    "cifar10": Entry(
        _cifar10.cifar10,
        (3, 32, 32),
        10,
        lambda: _cifar10.locate() is not None,
        _cifar10.fetch,
        _cifar10.FETCH,
    ),
    "digits": Entry(digits, (1, 8, 8), 10),
    "digit-scenes": Entry(digit_scenes, (1, 64, 64), 10),
}


def entry(name: str) -> Entry:
    """The task of that name.

    Raises:
        SearcherError: There is none.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def choose(names: Sequence[str]) -> tuple[str, str]:
    """The first task whose data is on this machine, and a line that says what was passed over.

    Raises:
        SearcherError: An unknown name, or none of them has its data here.
    """
    entries = [(name, entry(name)) for name in names]
    absent: list[tuple[str, str]] = []
    for name, candidate in entries:
        if candidate.available():
            passed = ", ".join(f"{other} is not on this machine ({how})" for other, how in absent)
            return name, f"task {name}: {passed}" if passed else ""
        absent.append((name, f"get it with: {candidate.fetch_command}"))
    raise SearcherError(
        "; ".join(f"the data of task {name} is not on this machine, {how}" for name, how in absent)
    )
