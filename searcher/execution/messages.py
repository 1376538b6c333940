"""Messages between a trial and its driver: the job, its progress, and its outcome."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.costs.op import Prediction


@dataclass(frozen=True)
class Job:
    """One trial to run: the recipe, its study, its folder and the threads that it may use.

    Attributes:
        store: The folder of the store, where there is one.
        rungs: After how many epochs of its own the trial asks whether it goes on.
        predicted: What it will execute, where that is known already.
        test: A search never looks at the test split; with this its quality is measured as well.
        gpu: Which of the GPUs it takes, where there are any.
    """

    study: Study
    number: int
    recipe: Recipe
    folder: Path
    threads: int
    store: Path | None = None
    rungs: tuple[int, ...] = ()
    predicted: Prediction | None = None
    test: bool = False
    gpu: int = 0


@dataclass(frozen=True)
class GpuMemory:
    """The memory of a trial's GPU, in bytes.

    Attributes:
        peak: The most that the trial has reserved so far, without what its context takes.
        reserved: What it has reserved now.
        free: What nobody holds.
        total: All there is.
    """

    peak: int
    reserved: int
    free: int
    total: int


@dataclass(frozen=True)
class Progress:
    """The progress of a running trial; `accuracy` is NaN where the stage has none.

    At a rung, `rung` is the number of epochs that the trial has trained, and the trial waits for an answer.
    `gpu` is None on the CPU, and where the epoch was trained by an earlier run.
    """

    stage: str
    epoch: int
    epochs: int
    accuracy: float
    cpu_seconds: float = 0.0
    rung: int = 0
    gpu: GpuMemory | None = None


@dataclass(frozen=True)
class Done:
    """A trial's metrics by key, its seconds, and what else was seen while they were measured."""

    metrics: dict[str, float]
    seconds: float
    cpu_seconds: float = 0.0
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """Why a trial failed, in one line; the traceback is in its folder's `error.txt`.

    Attributes:
        reason: The line.
        out_of_memory: Whether its GPU had no memory left, which others may have taken.
        gpu: What it held of that GPU, where it could say.
    """

    reason: str
    out_of_memory: bool = False
    gpu: GpuMemory | None = None

    def beside(self, others: int, *, counts: bool) -> "Failed | Killed":
        """The same of a trial that so many others shared its GPU with: one without memory is put back."""
        if not (self.out_of_memory and others):
            return self
        return Killed(f"{self.reason}, beside {others} more", counts)


@dataclass(frozen=True)
class Killed:
    """A trial's process ended without a word; its recipe is tried again, at most twice where it `counts`."""

    reason: str
    counts: bool = True


@dataclass(frozen=True)
class Stopped:
    """A trial lagged behind at a rung; it is told pruned, and may go on from there later."""

    rung: int


@dataclass(frozen=True)
class Infeasible:
    """A recipe that cannot satisfy a cost constraint, by its predicted metrics; nothing was trained."""

    reason: str
    predicted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reused:
    """A recipe that was tried before, in the trial of that number; nothing was trained."""

    number: int


Outcome = Done | Failed | Killed | Stopped | Infeasible | Reused


class Channel(Protocol):
    """A trial's channel to its driver."""

    def send(self, said: Progress | Outcome) -> None:
        """Say what happened."""

    def wait(self, rung: int) -> None:
        """Return when the driver lets the trial go on at a rung; otherwise this process ends."""
