"""A trial's own process: run the recipe, measure the model, say what came out."""

import json
import os
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from searcher import tasks
from searcher.costs.op import Op, not_counted, save_ops
from searcher.curve import CURVE, Curve, Point
from searcher.measure import Measurement, measure, on_split
from searcher.pipeline import run_recipe
from searcher.predict import Prediction, predict
from searcher.recipe import Recipe
from searcher.reconcile import reconcile
from searcher.stages.train import Run
from searcher.study import Study

RESULT = "metrics.json"
COST = "cost.json"


@dataclass(frozen=True)
class Job:
    """One trial to run: the recipe, its study, its folder and the threads that it may use.

    A search never looks at the test split; with `test` its quality is measured as well.
    """

    study: Study
    number: int
    recipe: Recipe
    folder: Path
    threads: int
    test: bool = False


@dataclass(frozen=True)
class Progress:
    """Where a running trial is; `accuracy` is NaN where the stage has none."""

    stage: str
    epoch: int
    epochs: int
    accuracy: float


@dataclass(frozen=True)
class Done:
    """A trial's metrics by key, its seconds, and under which conditions latency and memory were measured."""

    metrics: dict[str, float]
    seconds: float
    measured: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """Why a trial failed, in one line; the traceback is in its folder's `error.txt`."""

    reason: str


@dataclass(frozen=True)
class Killed:
    """A trial's process ended without a word; its recipe may be tried again."""

    reason: str


Outcome = Done | Failed | Killed


def main(job: Job, connection: Connection) -> None:
    """The process's entry: everything that happens is sent through the connection."""
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    _log_to(job.folder / "log.txt")
    # torch.fx makes progress bars, whose default lock is a semaphore that a killed trial leaves behind.
    tqdm.set_lock(threading.RLock())
    try:
        connection.send(execute(job, connection))
    except Exception as error:
        (job.folder / "error.txt").write_text(traceback.format_exc())
        traceback.print_exc()
        connection.send(Failed(f"{type(error).__name__}: {error}".splitlines()[0]))


def execute(job: Job, connection: Connection) -> Done:
    """Run a job in this process and report its progress through the connection."""
    started = time.monotonic()
    torch.set_num_threads(job.threads)
    curve = Curve(job.folder / CURVE)

    def report(stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        seconds = time.monotonic() - started
        print(f"{seconds:8.1f} s  {stage} {epoch}/{epochs} {accuracy:.4f}", flush=True)
        curve.add(Point(seconds, stage, epoch, epochs, accuracy))
        connection.send(Progress(stage, epoch, epochs, accuracy))

    report("load", 0, 1, float("nan"))
    task = tasks.entry(job.study.task).load()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(task, job.study.budget.epochs, job.study.seed, device, report)
    predicted = predict(job.recipe, task.image, task.classes)
    network = run_recipe(job.recipe, run)
    report("measure", 0, 1, float("nan"))
    measurement = Measurement(network, task, task.validation, job.study.deployment)
    _reconcile(predicted, measurement.ops, job)
    metrics = measure(measurement, job.study.measured())
    if job.test:
        held_out = measure(Measurement(network, task, task.test), on_split(job.study.measured()))
        metrics |= {f"test {key}": value for key, value in held_out.items()}
    done = Done(metrics, time.monotonic() - started, measurement.circumstances)
    _save(done, job)
    return done


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
    return Done(stored["metrics"], stored["seconds"], stored.get("measured", {}))


def _save(done: Done, job: Job) -> None:
    """Write the result in one step, so that a trial killed meanwhile leaves none."""
    result = {"recipe": job.recipe.digest(), "seconds": done.seconds, "metrics": done.metrics}
    if done.measured:
        result["measured"] = done.measured
    part = job.folder / f"{RESULT}.part"
    part.write_text(json.dumps(result, indent=1))
    part.replace(job.folder / RESULT)


def _end_with(connection: Connection) -> None:
    """End this process when the driver's end of the connection closes."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


def _log_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
