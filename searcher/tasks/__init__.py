"""Tasks by name: a data set with its splits and its quality metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from searcher.errors import SearcherError, unknown
from searcher.tasks.base import Task
from searcher.tasks.classification import cifar10 as _cifar10
from searcher.tasks.classification.digits import digits
from searcher.tasks.classification.task import Classification
from searcher.tasks.detection import folders
from searcher.tasks.detection.digit_scenes import digit_scenes
from searcher.tasks.detection.task import Detection


@dataclass(frozen=True)
class Entry:
    """A task by name: its loader, whether its data is here, how its data is fetched where it can be,
    and how to get it in words.

    `image` has the sizes of an image, channels first: what a network costs is known without the data.
    `usual` is the number of classes of the data set that goes by this name; `counted` is that of the data
    here, where it may be another one, and None where it is not here.
    """

    load: Callable[[], Task]
    image: tuple[int, ...]
    usual: int
    kind: type[Task] = Classification
    available: Callable[[], bool] = lambda: True
    fetch: Callable[[], Path] | None = None
    how: str = ""
    counted: Callable[[], int | None] = lambda: None

    @cached_property
    def classes(self) -> int:
        """The number of classes: the data's own where it is here.

        Raises:
            SearcherError: The data is here, and cannot be read.
        """
        return self.counted() or self.usual


def _folder(name: str, side: int, usual: int) -> Entry:
    """A data set for detection in a folder of that name, of square images."""
    return Entry(
        lambda: folders.load(name, side),
        (3, side, side),
        usual,
        Detection,
        lambda: folders.find(name) is not None,
        how=f"put {name}/ with images/ and instances.json (or VOC's) into ./data or $SEARCHER_DATA",
        counted=lambda: folders.classes(name),
    )


TASKS = {
    "cifar10": Entry(
        _cifar10.cifar10,
        (3, 32, 32),
        10,
        Classification,
        lambda: _cifar10.locate() is not None,
        _cifar10.fetch,
        f"get it with: {_cifar10.FETCH}",
    ),
    "digits": Entry(digits, (1, 8, 8), 10),
    "coco128": _folder("coco128", 320, 80),
    "digit-scenes": Entry(digit_scenes, (1, 64, 64), 10, Detection),
    "pennfudan": _folder("pennfudan", 192, 1),
    "voc": _folder("voc", 320, 20),
}


def kinds() -> list[type[Task]]:
    """Every kind of task that there is a task of."""
    return list(dict.fromkeys(one.kind for one in TASKS.values()))


def entry(name: str) -> Entry:
    """The task of that name.

    Raises:
        SearcherError: There is none.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return replace(TASKS[name])  # a copy, which counts the classes of the data as it is now


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
        absent.append((name, candidate.how))
    raise SearcherError(
        "; ".join(f"the data of task {name} is not on this machine, {how}" for name, how in absent)
    )
