"""A trial's own process: run the recipe, measure the model, say what came out."""

import errno
import gc
import json
import os
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import torch
from tqdm import tqdm

from searcher import tasks
from searcher.costs.op import Op, not_counted, save_ops
from searcher.curve import CURVE, Curve, Point
from searcher.errors import no_room
from searcher.files import in_one_step
from searcher.measure import Measurement, measure, on_split
from searcher.pipeline import run_recipe
from searcher.predict import Prediction, predict
from searcher.recipe import Recipe
from searcher.reconcile import reconcile
from searcher.stages.distill import TEACHER
from searcher.stages.train import Run
from searcher.store import Store
from searcher.study import Study

RESULT = "metrics.json"
COST = "cost.json"


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
class Progress:
    """Where a running trial is; `accuracy` is NaN where the stage has none.

    At a rung, `rung` is the number of epochs that the trial has trained, and the trial waits for an answer.
    """

    stage: str
    epoch: int
    epochs: int
    accuracy: float
    cpu_seconds: float = 0.0
    rung: int = 0


@dataclass(frozen=True)
class Done:
    """A trial's metrics by key, its seconds, and what else was seen while they were measured."""

    metrics: dict[str, float]
    seconds: float
    cpu_seconds: float = 0.0
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """Why a trial failed, in one line; the traceback is in its folder's `error.txt`."""

    reason: str


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
    """A recipe that cannot satisfy a cost constraint, by prediction; nothing was trained."""

    reason: str


@dataclass(frozen=True)
class Reused:
    """A recipe that was tried before, in the trial of that number; nothing was trained."""

    number: int


Outcome = Done | Failed | Killed | Stopped | Infeasible | Reused


class Channel(Protocol):
    """How a trial speaks with its driver."""

    def send(self, said: "Progress | Outcome") -> None:
        """Say what happened."""

    def wait(self, rung: int) -> None:
        """Return when the driver lets the trial go on at a rung; otherwise this process ends."""


class Pipe:
    """A channel to the process that has started this one; this one ends when the other end closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answers: SimpleQueue[bool] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, said: "Progress | Outcome") -> None:
        """Send it."""
        self._connection.send(said)

    def wait(self, rung: int) -> None:
        """Wait for the next answer."""
        self._answers.get()

    def _listen(self) -> None:
        try:
            while True:
                self._answers.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(1)


def main(job: Job, connection: Connection) -> None:
    """The entry of a process that its driver has forked."""
    gc.freeze()  # a collection of all that the libraries hold takes half a second, and unshares the memory
    run(job, Pipe(connection))


def run(job: Job, channel: Channel, *, log: bool = True) -> None:
    """Run a job in this process: everything that happens is said through the channel.

    Args:
        job: The trial.
        channel: To its driver.
        log: Whether what is printed goes into the trial's log, for good.
    """
    # torch.fx makes progress bars, whose default lock is a semaphore that a killed trial leaves behind.
    tqdm.set_lock(threading.RLock())
    try:
        if log:
            _log_to(job.folder / "log.txt")
        try:
            channel.send(execute(job, channel))
        except Exception as error:
            if no_room(error):
                raise
            (job.folder / "error.txt").write_text(traceback.format_exc())
            traceback.print_exc()
            channel.send(Failed(f"{type(error).__name__}: {error}".splitlines()[0]))
    except Exception as error:
        if no_room(error):
            os._exit(errno.ENOSPC)  # there is no room for a word about it
        raise


def execute(job: Job, channel: Channel) -> Done:
    """Run a job in this process and report its progress."""
    torch.set_num_threads(job.threads)
    diary = _Diary(job, channel)
    diary.report("load", 0, 1, float("nan"))
    task = tasks.entry(job.study.task).load().trained_on(job.study.budget.train_images)
    device = torch.device("cuda", job.gpu) if torch.cuda.is_available() else torch.device("cpu")
    store = Store(job.store) if job.store else None
    run = Run(
        task,
        job.study.budget.epochs,
        job.study.seed,
        device,
        diary.report,
        store=store,
        replay=diary.report,
        compile=job.study.compile,
    )
    predicted = job.predicted or predict(job.recipe, task.image, task.classes)
    network = run_recipe(job.recipe, run)
    diary.report("measure", 0, 1, float("nan"))
    measurement = Measurement(network, task, task.validation, job.study.deployment)
    _reconcile(predicted, measurement.ops, job)
    metrics = measure(measurement, job.study.measured())
    if job.test:
        held_out = measure(Measurement(network, task, task.test), on_split(job.study.measured()))
        metrics |= {f"test {key}": value for key, value in held_out.items()}
    done = Done(metrics, diary.seconds, cpu_seconds(), measurement.circumstances)
    _save(done, job)
    return done


class _Diary:
    """What a trial says while it runs: its log, its curve, and to the driver."""

    def __init__(self, job: Job, channel: Channel) -> None:
        self._job, self._channel = job, channel
        self._curve = Curve(job.folder / CURVE)
        self._started = time.monotonic()
        self._trained = 0

    @property
    def seconds(self) -> float:
        """Since the trial's start."""
        return time.monotonic() - self._started

    def report(self, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """Say where the trial is; at a rung it waits until the driver lets it go on."""
        print(f"{self.seconds:8.1f} s  {stage} {epoch}/{epochs} {accuracy:.4f}", flush=True)
        self._curve.add(Point(self.seconds, stage, epoch, epochs, accuracy))
        own = bool(epoch) and stage != TEACHER
        self._trained += own
        rung = self._trained if own and self._trained in self._job.rungs else 0
        self._channel.send(Progress(stage, epoch, epochs, accuracy, cpu_seconds(), rung))
        if rung:
            self._channel.wait(rung)


def cpu_seconds() -> float:
    """The processor time of this process, its threads and its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _reconcile(predicted: Prediction, counted: list[Op], job: Job) -> None:
    """Keep the table of what is executed in the trial's folder, and hold it against the prediction."""
    save_ops(counted, job.folder / COST)
    for line in not_counted(counted):
        print(f"not counted: {line}", flush=True)
    if predicted.reason:
        print(f"{predicted.verdict}: {predicted.reason}", flush=True)
    if predicted.ops is not None:
        reconcile(predicted.ops, counted, job.recipe)


def stored_outcome(folder: Path, recipe: Recipe) -> Done | None:
    """What a trial measured before its driver died, where it got that far with this recipe."""
    try:
        stored = json.loads((folder / RESULT).read_text())
    except FileNotFoundError:
        return None
    if stored["recipe"] != recipe.digest():
        return None
    spent = stored.get("cpu_seconds", 0.0)
    return Done(stored["metrics"], stored["seconds"], spent, stored.get("measured", {}))


def _save(done: Done, job: Job) -> None:
    """Write the result in one step, so that a trial killed meanwhile leaves none."""
    result = {
        "recipe": job.recipe.digest(),
        "seconds": done.seconds,
        "cpu_seconds": done.cpu_seconds,
        "metrics": done.metrics,
    }
    if done.measured:
        result["measured"] = done.measured
    with in_one_step(job.folder / RESULT) as part:
        part.write_text(json.dumps(result, indent=1))


def _log_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
