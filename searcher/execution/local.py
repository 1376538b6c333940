"""Trials as processes of this machine, forked from a server that has torch loaded already."""

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from typing import Any

import torch

from searcher.config.study import Study
from searcher.errors import exit_reason
from searcher.execution import worker
from searcher.execution.launcher import Remember, RunningTrial, cores, left_elsewhere
from searcher.execution.messages import Job, Killed, Outcome, Progress
from searcher.execution.signals import no_interrupt

# What a trial would import late; an optimizer's first step, for one, imports torch._dynamo.
PRELOADED = [
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
    # A process imports its parent's main module again: what that has imported of ours, the server has then.
    ours = [name for name in sys.modules if name.startswith("searcher.")]
    _context.set_forkserver_preload([*PRELOADED, *ours])
    # The tracker's start unblocks SIGINT, so it must not happen inside the block.
    resource_tracker.ensure_running()
    with no_interrupt():
        forkserver.ensure_running()


class Local:
    """Trials on this machine, a process each, which end with their driver."""

    outlive = False

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._gpus: list[tuple[LocalTrial, int]] = []

    def prepare(self) -> None:
        """Start the server that forks trials."""
        start_server()

    def threads(self, study: Study) -> int:
        """The cores, shared evenly."""
        return max(1, cores() // self.workers)

    def room(self, running: Sequence[RunningTrial], study: Study) -> int:
        """Workers that have no trial."""
        return self.workers - len(running)

    def start(self, job: Job, remember: Remember) -> "LocalTrial":
        """Fork a process; it takes the GPU that the fewest others have."""
        self._gpus = [(trial, gpu) for trial, gpu in self._gpus if trial.alive]
        taken = [gpu for _, gpu in self._gpus]
        gpu = min(range(max(1, torch.cuda.device_count())), key=taken.count)
        started = LocalTrial(replace(job, gpu=gpu))
        self._gpus.append((started, gpu))
        return started

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
    """A running trial. It ends when its connection to this process closes, so nothing is orphaned."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._connection, theirs = _context.Pipe()
        with no_interrupt():
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

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def events(self) -> list[Progress | Outcome]:
        """The events since the last call; an outcome comes last, and once."""
        events: list[Progress | Outcome] = []
        try:
            while self._connection.poll():
                events.append(self._connection.recv())
                if not isinstance(events[-1], Progress):
                    break
        except (EOFError, OSError):
            self._process.join()
            events.append(Killed(_how_it_ended(self._process.exitcode or 0)))
        return events

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


def wait_for(trials: Iterable[LocalTrial], seconds: float) -> None:
    """Return when one of the trials has something to say, or after so many seconds."""
    wait([trial.fileno() for trial in trials], seconds)


def run_jobs(
    jobs: Iterable[Job], workers: int, report: Report | None = None
) -> Generator[tuple[Job, Outcome], None, None]:
    """Run jobs on this machine, so many at a time; those that still run end when the generator is closed.

    Args:
        jobs: In the order of their start; the folders are made.
        workers: Processes at a time.
        report: Called with each word of a job's progress.

    Yields:
        Each job and its outcome, in the order in which they end.
    """
    waiting = iter(jobs)
    running: dict[LocalTrial, None] = {}
    try:
        while True:
            for job in islice(waiting, workers - len(running)):
                job.folder.mkdir(parents=True, exist_ok=True)
                running[LocalTrial(job)] = None
            if not running:
                return
            wait_for(running, 60)
            for trial in list(running):
                for event in trial.events():
                    if isinstance(event, Outcome):
                        trial.stop()
                        del running[trial]
                        yield trial.job, event
                    elif report:
                        report(trial.job, event)
    finally:
        for trial in running:
            trial.stop()


def _how_it_ended(exitcode: int) -> str:
    if exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return exit_reason(exitcode)
