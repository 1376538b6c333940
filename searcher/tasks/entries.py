"""A task before its data is loaded: what is known of it, and what loads it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from searcher.config.data import Data
from searcher.tasks.base import Task
from searcher.tasks.classification.task import Classification


@dataclass(frozen=True)
class Entry:
    """A task by name: its loader, whether its data is here, how its data is fetched where it can be,
    and how to get it in words.

    `image` has the sizes of an image, channels first: what a network costs is known without the data.
    `usual` is the number of classes of the data set that goes by this name; `counted` is that of the data
    here, where it may be another one, and None where it is not here. `prepared` is the same task with its
    data as a study wants it, where it can be another one.
    """

    load: Callable[[], Task]
    image: tuple[int, ...]
    usual: int
    kind: type[Task] = Classification
    available: Callable[[], bool] = lambda: True
    fetch: Callable[[], Path] | None = None
    how: str = ""
    counted: Callable[[], int | None] = lambda: None
    prepared: Callable[[Data], "Entry"] | None = None

    @cached_property
    def classes(self) -> int:
        """The number of classes: the data's own where it is here.

        Raises:
            SearcherError: The data is here, and cannot be read.
        """
        return self.counted() or self.usual
