"""Trials as processes of this machine, forked from a server that has torch loaded already."""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import Any

import torch

from searcher.config.study import Study
from searcher.errors import exit_reason
from searcher.execution import mps, worker
from searcher.execution.gpus import Gpus, Seat
from searcher.execution.launcher import Remember, RunningTrial, cores, left_elsewhere
from searcher.execution.main_module import without_main
from searcher.execution.messages import Failed, Job, Killed, Outcome, Progress
from searcher.execution.mps import Say
from searcher.execution.signals import no_interrupt

# What a trial would import late; an optimizer's first step, for one, imports torch._dynamo.
PRELOADED = [
    "searcher.execution.openmp",  # before any that loads torch
    "searcher.execution.worker",
    "searcher.compression.engines.nni",
    "searcher.compression.engines.torch_pruning",
    "sklearn.datasets",
    "torch._dynamo",
]
Report = Callable[[Job, Progress], None]
"""Hears where a job is."""

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def start_server() -> None:
    """Start the server that forks trials, so that it loads torch while the driver gets ready."""
    # The tracker's start unblocks SIGINT, so it must not happen inside the block.
    resource_tracker.ensure_running()
    with no_interrupt(), without_main():
        forkserver.ensure_running()


class Local:
    """Trials on this machine, a process each, which end with their driver.

    Args:
        workers: Trials at a time.
        say: Called with each line that is worth a user's attention.
        without_mps: Trials at a time where MPS was expected and cannot be had; as many by default.
    """

    outlive = False

    def __init__(self, workers: int, say: Say = lambda line: None, *, without_mps: int | None = None) -> None:
        self.workers = workers
        self._say, self._without_mps = say, without_mps or workers
        self._gpus = Gpus(count, workers) if (count := torch.cuda.device_count()) else None
        self._held = ExitStack()

    def prepare(self) -> None:
        """Start the server that forks trials, and MPS where they share a GPU."""
        count = torch.cuda.device_count()
        # Before the server, whose environment the trials have.
        if 0 < count < self.workers and not self._held.enter_context(mps.served(count, self._say)):
            self.workers = self._without_mps
            self._gpus = Gpus(count, self.workers)
        start_server()

    def end(self) -> None:
        """End MPS, where it was started."""
        self._held.close()

    def threads(self, study: Study) -> int:
        """The cores, shared evenly."""
        return max(1, cores() // self.workers)

    def room(self, running: Sequence[RunningTrial], study: Study) -> int:
        """Workers that have no trial, as far as their GPUs have memory for one."""
        free = self.workers - len(running)
        return min(free, self._gpus.room) if self._gpus else free

    def start(self, job: Job, remember: Remember) -> "LocalTrial":
        """Fork a process; it takes the GPU that the fewest others have."""
        return LocalTrial(job, self._gpus.join() if self._gpus else None)

    def submit(self) -> None:
        """Nothing waits."""

    def attach(self, job: Job, told: dict[str, Any]) -> None:
        """Nothing of it is here.

        Raises:
            SearcherError: It runs on a cluster.
        """
        raise left_elsewhere(job.study, f"go on with --cluster {told['engine']}")

    def wait(self, running: Sequence[RunningTrial], seconds: float) -> None:
        """Wait for a word on any of the pipes."""
        wait_for([r for r in running if isinstance(r, LocalTrial)], seconds)


class LocalTrial:
    """A running trial. It ends when its connection to this process closes, so nothing is orphaned.

    Args:
        job: What it runs.
        seat: Its place on a GPU, where there are any.
    """

    def __init__(self, job: Job, seat: Seat | None = None) -> None:
        self.job = job = replace(job, gpu=seat.gpu) if seat else job
        self._seat = seat
        self._connection, theirs = _context.Pipe()
        with no_interrupt(), without_main():
            self._process = _context.Process(target=worker.main, args=(job, theirs), daemon=True)
            self._process.start()
        theirs.close()

    @property
    def begun(self) -> bool:
        """It runs at once."""
        return True

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid or 0

    def events(self) -> list[Progress | Outcome]:
        """The events since the last call; an outcome comes last, and once."""
        events: list[Progress | Outcome] = []
        try:
            while self._connection.poll():
                events.append(self._seated(self._connection.recv()))
                if not isinstance(events[-1], Progress):
                    break
        except (EOFError, OSError):
            self._process.join()
            events.append(Killed(_how_it_ended(self._process.exitcode or 0)))
        return events

    def _seated(self, said: Progress | Outcome) -> Progress | Outcome:
        """What was said, for the memory of its GPU too: without any it failed alone, or is put back."""
        if self._seat and isinstance(said, Progress) and said.gpu:
            self._seat.heard(said.gpu, trained=said.epoch > 0)
        if self._seat and isinstance(said, Failed) and said.out_of_memory:
            # It is not counted: fewer share the GPU each time, so that it is alone in the end.
            return said.beside(self._seat.ran_out(said.gpu.peak if said.gpu else 0), counts=False)
        return said

    def fileno(self) -> int:
        """Of the file that can be read when the trial has something to say, for `select`."""
        return self._connection.fileno()

    def go_on(self, rung: int) -> None:
        """Answer a trial that waits at a rung."""
        with contextlib.suppress(OSError):  # it was killed meanwhile, which `events` will say
            self._connection.send(True)

    def stop(self) -> None:
        """End the process at once and wait until it is gone."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        if self._seat:
            self._seat.leave()


def wait_for(trials: Iterable[LocalTrial], seconds: float) -> None:
    """Return when one of the trials has something to say, or after so many seconds."""
    wait([trial.fileno() for trial in trials], seconds)


def run_jobs(
    jobs: Iterable[Job], workers: int, report: Report | None = None, say: Say = lambda line: None
) -> Generator[tuple[Job, Outcome], None, None]:
    """Run jobs on this machine, so many at a time; those that still run end when the generator is closed.

    Args:
        jobs: In the order of their start; the folders are made.
        workers: Processes at a time.
        report: Called with each word of a job's progress.
        say: Called with each line that is worth a user's attention.

    Yields:
        Each job and its outcome, in the order in which they end.
    """
    waiting, launcher = deque(jobs), Local(workers, say)
    running: dict[LocalTrial, None] = {}
    try:
        launcher.prepare()
        while waiting or running:
            while waiting and launcher.room(list(running), waiting[0].study) > 0:
                job = waiting.popleft()
                job.folder.mkdir(parents=True, exist_ok=True)
                running[launcher.start(job, lambda told: None)] = None
            wait_for(running, 60)
            for trial in list(running):
                for event in trial.events():
                    if isinstance(event, Outcome):
                        trial.stop()
                        del running[trial]
                        if isinstance(event, Killed) and not event.counts:
                            waiting.append(trial.job)
                        else:
                            yield trial.job, event
                    elif report:
                        report(trial.job, event)
    finally:
        for trial in running:
            trial.stop()
        launcher.end()


def _how_it_ended(exitcode: int) -> str:
    if exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return exit_reason(exitcode)
