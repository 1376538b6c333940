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
    """Changes of a training image, each time another one."""

    flip: bool | None = Field(default=None, description="whether an image may be mirrored; by default it may")
    shift: int | None = Field(
        default=None,
        ge=0,
        description="of classes, the largest translation in pixels; by default an eighth of the side",
    )
    zoom: float | None = Field(
        default=None, ge=0, lt=1, description="of boxes, how much larger or smaller it may get, as a share"
    )
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = Field(
        default=None, description="of masks, the least and the largest factor of an image's scale"
    )
    light: float | None = Field(
        default=None, ge=0, lt=1, description="of boxes, how much brighter or darker it may get, as a share"
    )


class Data(_Frozen):
    """The preparation of a user's own data."""

    size: Pixels | tuple[Pixels, Pixels] | None = Field(
        default=None, description="pixels of a side, or height and width; by default the images' own, or 64"
    )
    mean: tuple[float, ...] | None = Field(
        default=None, description="of each channel in shares of the full scale; by default as measured"
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="the same of the standard deviation"
    )
    channels: Literal[1, 3] | None = Field(default=None, description="by default as the images are")
    augment: Augment = Field(default=Augment(), description="changes of a training image")
    validation: float | None = Field(
        default=None, gt=0, lt=1, description="share of a validation split that is drawn; by default 0.15"
    )
    test: float | None = Field(
        default=None, gt=0, lt=1, description="share of a test split that is drawn; by default 0.15"
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**32 - 1, description="of the split that is drawn and the images' order"
    )
    classes: tuple[str, ...] | None = Field(
        default=None, min_length=2, description="names of the classes in the order of the outputs"
    )
    ignore: tuple[Annotated[int, Field(ge=0, le=2**16 - 1)], ...] | None = Field(
        default=None, description="of masks, the values of pixels of no class; by default 255"
    )
    balanced: bool | None = Field(
        default=None,
        description="of masks, whether the loss weighs classes by their median frequency over their own",
    )

    @model_validator(mode="after")
    def _fits(self) -> "Data":
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise ValueError("validation and test leave nothing to train on: together below 1")
        if self.mean and self.std and len(self.mean) != len(self.std):
            raise ValueError("mean and std: one number a channel each")
        if self.augment.scale and self.augment.scale[0] > self.augment.scale[1]:
            raise ValueError("augment.scale: the least factor first")
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
