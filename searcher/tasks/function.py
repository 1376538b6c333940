"""A task that a user's own function makes, or that Python code was given."""

import functools
import inspect

import torch

from searcher.config import catalog, given
from searcher.errors import SearcherError, first_line
from searcher.tasks.base import Split, Task
from searcher.tasks.entries import Entry


def from_function(name: str) -> Entry:
    """The task of ``pkg.mod:function``, which is called once in a process.

    Raises:
        SearcherError: There is no such function, it cannot be called without arguments, it raises, or what it
            returns is no task.
    """
    return _entry(_made(name))


def from_given(name: str) -> Entry:
    """The task that `config.given` names.

    Raises:
        SearcherError: It cannot be loaded, or cannot be trained on.
    """
    return _entry(checked(given.load(name), given.word(name)))


def _entry(task: Task) -> Entry:
    return Entry(lambda: task, task.image, task.classes, type(task))


def checked(task: Task, name: str) -> Task:
    """The task.

    Raises:
        SearcherError: It cannot be trained on.
    """
    if wrong := _wrong(task):
        raise SearcherError(f"task {name}: {wrong}")
    return task


@functools.cache
def _made(name: str) -> Task:
    function = catalog.function(name)
    try:
        needed = [p.name for p in inspect.signature(function).parameters.values() if _is_needed(p)]
    except (TypeError, ValueError):  # a function in C says nothing of its arguments
        needed = []
    if needed:
        raise SearcherError(f"task {name}: needs arguments ({', '.join(needed)}), and is called without any")
    try:
        task = function()
    except (Exception, SystemExit) as error:
        raise SearcherError(f"task {name}: raises {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(task, Task):
        raise SearcherError(
            f"task {name}: returns a {type(task).__name__}, expected a searcher.tasks.base.Task "
            "such as searcher.tasks.classification.task.Classification"
        )
    return checked(task, name)


def _is_needed(parameter: inspect.Parameter) -> bool:
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in free


def _wrong(task: Task) -> str:
    """Why a task cannot be trained on, in words; or empty."""
    sizes = set()
    for part in ("train", "validation", "test"):
        split = getattr(task, part)
        if not isinstance(split, Split):
            return f"{part}: expected a Split, got a {type(split).__name__}"
        images = split.images
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or images.dtype != torch.uint8:
            return f"{part}.images: expected a tensor (N, C, H, W) of uint8"
        if len(images) != len(split.labels) or not len(images):
            return f"{part}: {len(images)} images, {len(split.labels)} labels"
        sizes.add(tuple(images.shape[1:]))
    if len(sizes) > 1:
        return f"images of several sizes: {', '.join('×'.join(map(str, size)) for size in sorted(sizes))}"
    channels = task.in_channels
    if len(task.mean) != channels or len(task.std) != channels:
        return f"mean and std: {len(task.mean)} and {len(task.std)} numbers for {channels} channels"
    return ""
