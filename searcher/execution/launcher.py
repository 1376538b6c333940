"""The interface of launchers, which start trials somewhere."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.execution import mps
from searcher.execution.gpus import trials_per_gpu
from searcher.execution.messages import Job, Outcome, Progress
from searcher.execution.metrics import timed

Remember = Callable[[dict[str, Any]], None]
"""Writes down where a trial runs, so that another driver finds it."""


def left_elsewhere(study: Study, way: str, on: str = "") -> SearcherError:
    """The refusal of jobs of another driver that this launcher cannot reach.

    Args:
        study: Theirs.
        way: How to go on with them.
        on: Where they are.
    """
    return SearcherError(
        f"jobs of {study.stored_name} are left{on}: {way}, or end them: searcher cancel {study.stored_name}"
    )


class RunningTrial(Protocol):
    """A trial that was started."""

    job: Job

    @property
    def begun(self) -> bool:
        """Whether it runs; otherwise it waits for its turn."""

    def events(self) -> list[Progress | Outcome]:
        """The events since the last call; an outcome comes last, and once."""

    def go_on(self, rung: int) -> None:
        """Answer a trial that waits at a rung."""

    def stop(self) -> None:
        """End it."""


class Launcher(Protocol):
    """Starts trials somewhere.

    `outlive` says whether trials go on where their driver ends; `workers` how many run at a time.
    """

    outlive: bool
    workers: int

    def prepare(self) -> None:
        """Get ready, before anything is started."""

    def end(self) -> None:
        """End what `prepare` has started, when no trial of this driver's own runs any more."""

    def threads(self, study: Study) -> int:
        """The number of threads that a trial may use."""

    def room(self, running: Sequence[RunningTrial], study: Study) -> int:
        """The number of a study's trials that may be started beside those that run."""

    def start(self, job: Job, remember: Remember) -> RunningTrial:
        """Start a trial; it may begin only when `submit` was called."""

    def submit(self) -> None:
        """Start what waits for it."""

    def attach(self, job: Job, told: dict[str, Any]) -> RunningTrial | None:
        """A trial that an earlier driver has started, by what it wrote down; None where it is gone."""

    def wait(self, running: Sequence[RunningTrial], seconds: float) -> None:
        """Return when one of the trials has something to say, or after so many seconds."""


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(study: Study, *, use_mps: bool = True) -> int:
    """One trial a core, at most 4; `trials_per_gpu` on each GPU; one alone where trials are timed.

    Args:
        study: What is searched.
        use_mps: Whether MPS is used where it can be.
    """
    if timed(study.measured()):
        return 1
    gpus = torch.cuda.device_count()
    if not gpus:
        return min(4, cores())
    return gpus * (
        study.cluster.trials_per_gpu or trials_per_gpu(cores(), gpus, mps=use_mps and mps.obtainable())
    )
