"""Where a trial runs: a process forked from a server that has torch loaded already."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait

from searcher import trial
from searcher.trial import Job, Killed, Outcome, Progress

# What a trial would import late; an optimizer's first step, for one, imports torch._dynamo.
PRELOADED = [
    "searcher.trial",
    "searcher.cli",  # of which the command is made: a process imports its parent's main module again
    "searcher.engines.nni",
    "searcher.engines.torch_pruning",
    "sklearn.datasets",
    "torch._dynamo",
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def start_server() -> None:
    """Start the server that forks trials, so that it loads torch while the driver gets ready."""
    # The tracker's start unblocks SIGINT, so it must not happen inside the block.
    resource_tracker.ensure_running()
    with _no_interrupt():
        forkserver.ensure_running()


class LocalTrial:
    """A running trial. It ends when its connection to this process closes, so nothing is orphaned."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._connection, theirs = _context.Pipe()
        with _no_interrupt():
            self._process = _context.Process(target=trial.main, args=(job, theirs), daemon=True)
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid or 0

    def events(self) -> list[Progress | Outcome]:
        """What happened since the last call; an outcome comes last, and once."""
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

    def go_on(self) -> None:
        """Answer a trial that waits at a rung."""
        with contextlib.suppress(OSError):  # it was killed meanwhile, which `events` will say
            self._connection.send(True)

    def stop(self) -> None:
        """End the process at once and wait until it is gone."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def wait_for(trials: Sequence[LocalTrial], seconds: float) -> None:
    """Return when one of the trials has something to say, or after so many seconds."""
    connections: list[Connection] = [t._connection for t in trials]
    wait(connections, seconds)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """A Ctrl-C goes to the whole foreground group; trials and their server leave it to the driver."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _how_it_ended(exitcode: int) -> str:
    if exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with exit code {exitcode}"


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
