"""Tasks by name, by the path of a user's own data, or by a function: data, its splits and its quality."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from searcher.config.data import Data, is_function, is_path, short
from searcher.config.given import is_given
from searcher.config.study import Study
from searcher.errors import SearcherError, unknown
from searcher.tasks import locations, own
from searcher.tasks.base import Task
from searcher.tasks.classification import cifar10 as _cifar10
from searcher.tasks.classification.digits import digits
from searcher.tasks.classification.task import Classification
from searcher.tasks.detection import folders
from searcher.tasks.detection.digit_scenes import digit_scenes
from searcher.tasks.detection.task import Detection
from searcher.tasks.entries import Entry
from searcher.tasks.function import from_function, from_given
from searcher.tasks.segmentation import own as masks
from searcher.tasks.segmentation.digit_masks import digit_masks
from searcher.tasks.segmentation.task import Segmentation

__all__ = ["TASKS", "Entry", "choose", "entry", "kinds", "of"]


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
        prepared=lambda data: _resized(name, data, side, usual),
    )


def _resized(name: str, data: Data, side: int, usual: int) -> Entry:
    own.refuse_keys(data, ("size",), f"task {name}")
    return _folder(name, own.square_side(data) or side, usual)


def _masked(name: str, sides: tuple[int, int], usual: int, data: Data | None = None) -> Entry:
    """A data set for segmentation in a folder of that name, its images of a size where none is given."""
    wanted = Data(size=sides) if data is None else data.model_copy(update={"size": data.size or sides})

    def here() -> Entry:
        folder = locations.find(name)
        if folder is None:
            raise SearcherError(f"no folder {name} in $SEARCHER_DATA, ./data or {locations.cache()}")
        return masks.entry(folder, name, wanted)

    def prepared(asked: Data) -> Entry:
        own.refuse_keys(asked, own.OF_MASKS, f"task {name}")
        return _masked(name, sides, usual, asked)

    return Entry(
        lambda: here().load(),
        (wanted.channels or 3, *(wanted.sides or sides)),
        usual,
        Segmentation,
        lambda: locations.find(name) is not None,
        how=f"put {name}/ with its images and masks into ./data or $SEARCHER_DATA",
        counted=lambda: here().classes if locations.find(name) else None,
        prepared=prepared,
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
    "ade20k": _masked("ade20k", (512, 512), 150),
    "camvid": _masked("camvid", (180, 240), 11),
    "cityscapes": _masked("cityscapes", (512, 1024), 19),
    "coco128": _folder("coco128", 320, 80),
    "digit-masks": Entry(digit_masks, (1, 64, 64), 11, Segmentation),
    "digit-scenes": Entry(digit_scenes, (1, 64, 64), 10, Detection),
    "pennfudan": _folder("pennfudan", 192, 1),
    "voc": _folder("voc", 320, 20),
}


def kinds() -> list[type[Task]]:
    """Every kind of task that there is a task of."""
    return list(dict.fromkeys(one.kind for one in TASKS.values()))


def of(study: Study) -> Entry:
    """The task of a study, its data as the study wants it.

    Raises:
        SearcherError: There is none, or its data is none that can be used.
    """
    return entry(study.task, study.data)


def entry(name: str, data: Data | None = None) -> Entry:
    """The task of that name, of the data at that path, of ``pkg.mod:function``, or that Python was given.

    Args:
        name: What a study calls its task.
        data: How the data is prepared, where that is said.

    Raises:
        SearcherError: There is none, or its data is none that can be used.
    """
    if name in TASKS:
        found = replace(TASKS[name])  # a copy, which counts the classes of the data as it is now
        return _prepared(name, found, data) if data else found
    if is_function(name) or is_given(name):
        if data:
            kind = "function" if is_function(name) else "Task"
            raise SearcherError(f"data: task {short(name)} is a {kind}, which prepares its data itself")
        return from_function(name) if is_function(name) else from_given(name)
    if is_path(name):
        return own.entry(name, data or Data())
    if Path(name).exists():
        raise SearcherError(f"no task named {name!r}; the data of that path is task ./{name}")
    raise unknown("task", name, TASKS)


def _prepared(name: str, found: Entry, data: Data) -> Entry:
    """A task of TASKS with its data as a study wants it."""
    if found.prepared is None:
        raise SearcherError(f"data: task {name} comes prepared; a path as task takes data.{data.given()[0]}")
    return found.prepared(data)


def choose(names: Sequence[str], data: Callable[[str], Data | None] = lambda name: None) -> tuple[str, str]:
    """The first task whose data is on this machine, and a line that says what was passed over.

    Args:
        names: The tasks.
        data: How the data of each is prepared.

    Raises:
        SearcherError: An unknown name, or none of them has its data here.
    """
    entries = [(name, entry(name, data(name))) for name in names]
    absent: list[tuple[str, str]] = []
    for name, candidate in entries:
        if candidate.available():
            passed = ", ".join(f"{other} is not on this machine ({how})" for other, how in absent)
            return name, f"task {name}: {passed}" if passed else ""
        absent.append((name, candidate.how))
    raise SearcherError(
        "; ".join(f"the data of task {name} is not on this machine, {how}" for name, how in absent)
    )
