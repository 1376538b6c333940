"""The process of a trial: runs the recipe, measures the model, reports the outcome."""

import errno
import gc
import math
import os
import threading
import time
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from tqdm import tqdm

from searcher import tasks
from searcher.compression.build import check_weights
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.store import Store
from searcher.compression.teaching import TEACHER
from searcher.compression.training import Run
from searcher.config import catalog
from searcher.costs.op import Op, Prediction, not_counted, save_ops
from searcher.errors import no_room
from searcher.execution.curve import CURVE, Curve, Point
from searcher.execution.layout import COST, INT8
from searcher.execution.measurement import Measurement, measure
from searcher.execution.memory import gpu_memory, ran_out, reason
from searcher.execution.messages import Channel, Done, Failed, GpuMemory, Job, Progress
from searcher.execution.metrics import on_split
from searcher.execution.pipe import Pipe
from searcher.execution.rehearsal import rehearse_once
from searcher.execution.results import save
from searcher.wording import fidelity, kernels


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
            catalog.load_plugins()
            channel.send(execute(job, channel))
        except Exception as error:
            if no_room(error):
                raise
            (job.folder / "error.txt").write_text(traceback.format_exc())
            traceback.print_exc()
            channel.send(_failure(error, job))
    except Exception as error:
        if no_room(error):
            os._exit(errno.ENOSPC)  # there is no room for a word about it
        raise


def _failure(error: Exception, job: Job) -> Failed:
    if ran_out(error):
        memory = gpu_memory(job.gpu)
        return Failed(reason(memory), out_of_memory=True, gpu=memory)
    return Failed(f"{type(error).__name__}: {error}".splitlines()[0])


def execute(job: Job, channel: Channel) -> Done:
    """Run a job in this process and report its progress."""
    torch.set_num_threads(job.threads)
    diary = _Diary(job, channel)
    diary.report("load", 0, 1, float("nan"))
    task = tasks.of(job.study).load().trained_on(job.study.budget.train_images)
    device = torch.device("cuda", job.gpu) if torch.cuda.is_available() else torch.device("cpu")
    store = Store(job.store) if job.store else None
    run = Run(
        task,
        job.study.budget.epochs,
        job.study.seed,
        device,
        diary.report,
        store=store,
        replay=diary.replay,
        compile=job.study.compile,
    )
    predicted = job.predicted or predict(job.recipe, task.image, task.classes)
    for line in check_weights([job.recipe.model], task.image, task.classes):
        print(line, flush=True)
    diary.say("rehearse")
    rehearse_once(job.recipe, run)
    network = run_recipe(job.recipe, run)
    diary.report("measure", 0, 1, float("nan"))
    measurement = Measurement(network, task, task.validation, job.study.deployment, device, diary.step)
    _reconcile(predicted, measurement.ops, job)
    if ran := measurement.circumstances.get(INT8):
        print(f"int8 by {kernels(ran)}; {fidelity(ran)} from exact arithmetic", flush=True)
    metrics = measure(measurement, job.study.measured())
    if job.test:
        held_out = measure(replace(measurement, split=task.test), on_split(job.study.measured()))
        metrics |= {f"test {key}": value for key, value in held_out.items()}
    done = Done(metrics, diary.seconds, cpu_seconds(), measurement.circumstances)
    save(done, job)
    return done


class _Diary:
    """A trial's reports while it runs: its log, its curve, and to the driver."""

    def __init__(self, job: Job, channel: Channel) -> None:
        self._job, self._channel = job, channel
        self._curve = Curve(job.folder / CURVE)
        self._started = time.monotonic()
        self._trained = 0

    @property
    def seconds(self) -> float:
        """Since the trial's start."""
        return time.monotonic() - self._started

    def say(self, stage: str) -> None:
        """Say what the trial does that is no part of its training."""
        print(f"{self.seconds:8.1f} s  {stage}", flush=True)
        self._channel.send(Progress(stage, 0, 1, math.nan, cpu_seconds(), gpu=gpu_memory(self._job.gpu)))

    def step(self, name: str, done: int = 0, count: int = 0) -> None:
        """Say a step of the measuring as it begins."""
        if not done:
            self.say(name)

    def report(self, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """Say where the trial is; at a rung it waits until the driver lets it go on."""
        self._tell(stage, epoch, epochs, accuracy, gpu_memory(self._job.gpu))

    def replay(self, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """Say the same of an epoch that an earlier run has trained: it tells nothing of this one's memory."""
        self._tell(stage, epoch, epochs, accuracy, None)

    def _tell(self, stage: str, epoch: int, epochs: int, accuracy: float, gpu: GpuMemory | None) -> None:
        reached = "" if math.isnan(accuracy) else f" {accuracy:.4f}"
        print(f"{self.seconds:8.1f} s  {stage} {epoch}/{epochs}{reached}", flush=True)
        self._curve.add(Point(self.seconds, stage, epoch, epochs, accuracy))
        own = bool(epoch) and stage != TEACHER
        self._trained += own
        rung = self._trained if own and self._trained in self._job.rungs else 0
        self._channel.send(Progress(stage, epoch, epochs, accuracy, cpu_seconds(), rung, gpu))
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


def _log_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
