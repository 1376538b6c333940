"""Networks and tasks that Python code gives to a search, kept in its runs folder, where trials find them."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
from torch import nn

from searcher.compression.engines import weights
from searcher.config import given
from searcher.config.model import Model
from searcher.errors import SearcherError, first_line, no_room
from searcher.files import in_one_step
from searcher.searching.content import digest
from searcher.tasks.base import Task


def keep_model(model: nn.Module | Callable[..., nn.Module], folder: Path) -> Model:
    """A network with its weights, or a function that builds one, as a study names it.

    Args:
        model: A network on the CPU; or a function, which is kept where no other process can import it.
        folder: Where it is kept.

    Raises:
        SearcherError: It cannot be pickled, or the folder cannot be written.
    """
    if isinstance(model, nn.Module):
        file = _kept(model, type(model).__name__, folder)
        values = file.with_suffix(".safetensors")
        if not values.is_file():
            with _one_message(type(model).__name__), in_one_step(values) as part:
                part.write_bytes(weights.pack(model.state_dict()))
        return Model(name=given.named(file), weights=str(values))
    name = getattr(model, "__name__", type(model).__name__)
    module = getattr(model, "__module__", "")
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is model:
        return Model(name=f"{module}:{name}")
    return Model(name=given.named(_kept(model, name, folder)))


def keep_task(task: Task, folder: Path) -> str:
    """A task as a study names it.

    Args:
        task: The task.
        folder: Where it is kept.

    Raises:
        SearcherError: It cannot be pickled, or the folder cannot be written.
    """
    return given.named(_kept(task, task.name, folder))


def _kept(value: Any, name: str, folder: Path) -> Path:
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "given"
    with _one_message(name):
        file = folder.absolute() / f"{word}-{digest(value)}{given.SUFFIX}"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with in_one_step(file) as part:
                part.write_bytes(cloudpickle.dumps(value))
    return file


@contextmanager
def _one_message(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if no_room(error) else str(error)
        raise SearcherError(f"{name} cannot be kept for the trials: {reason}") from error
    except Exception as error:  # whatever an object that cannot be pickled raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise SearcherError(
            f"{name} cannot be sent to the trials, which are processes of their own ({reason}): "
            'name a function that makes it, "pkg.mod:function"'
        ) from error
