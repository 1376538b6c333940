"""Data of a user's own: the names by which a task is meant, and the `[data]` table of a study."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from searcher.config.given import is_given, word

SUFFIXES = (".npz", ".csv")
"""Of the files that are data by themselves."""

Pixels = Annotated[int, Field(ge=1, le=4096)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Augment(_Frozen):
    """Changes of a training image, each time another one.

    Attributes:
        flip: Whether it may be mirrored.
        shift: Of classes, the largest translation in pixels; an eighth of the side by default.
        zoom: Of detection, how much larger or smaller it may get, as a share.
        light: Of detection, how much brighter or darker it may get, as a share.
    """

    flip: bool | None = None
    shift: int | None = Field(default=None, ge=0)
    zoom: float | None = Field(default=None, ge=0, lt=1)
    light: float | None = Field(default=None, ge=0, lt=1)


class Data(_Frozen):
    """The preparation of a user's own data.

    Attributes:
        size: Pixels of a side, or height and width.
        mean: Of each channel, as a share of the full scale; measured on the training split by default.
        std: The same of the standard deviation.
        channels: 1 or 3; as the images are by default.
        augment: Changes of a training image.
        validation: The share of a split that is drawn.
        test: The same.
        seed: Of the split that is drawn, and of the order of the images.
        classes: The names of the classes in their order.
    """

    size: Pixels | tuple[Pixels, Pixels] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    channels: Literal[1, 3] | None = None
    augment: Augment = Augment()
    validation: float | None = Field(default=None, gt=0, lt=1)
    test: float | None = Field(default=None, gt=0, lt=1)
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1)
    classes: tuple[str, ...] | None = Field(default=None, min_length=2)

    @model_validator(mode="after")
    def _fits(self) -> "Data":
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise ValueError("validation and test leave nothing to train on: together below 1")
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError("mean and std: one number a channel each")
        if self.classes and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: a name is there twice")
        return self

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width, where they are given."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def given(self) -> list[str]:
        """The keys that are given, those of `augment` with their table's name."""
        own = [key for key in type(self).model_fields if key != "augment" and getattr(self, key) is not None]
        inner = [key for key in Augment.model_fields if getattr(self.augment, key) is not None]
        return own + [f"augment.{key}" for key in inner]


def is_function(task: str) -> bool:
    """Whether a task is given as ``pkg.mod:function``."""
    return re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", task) is not None


def is_path(task: str) -> bool:
    """Whether a task is given as a path: it has a separator, begins with a dot or ``~``, or names a file."""
    return not (is_function(task) or is_given(task)) and (
        "/" in task or "\\" in task or task.startswith((".", "~")) or task.lower().endswith(SUFFIXES)
    )


def short(task: str) -> str:
    """A task's name in a stored study's and in a folder's: of a path the last part, of safe characters."""
    if is_given(task):
        task = word(task)
    elif is_path(task):
        last = Path(task).expanduser().absolute()
        name = last.resolve().name if last.name in ("", "..") else last.name
        task = name[: -len(SUFFIXES[0])] if name.lower().endswith(SUFFIXES) else name
    elif not is_function(task):
        return task
    return re.sub(r"[^\w.-]+", "-", task, flags=re.ASCII).strip("-.") or "data"
