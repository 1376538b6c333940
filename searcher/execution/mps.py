"""NVIDIA's Multi-Process Service, by which processes share a GPU at once; without it they take turns."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Say = Callable[[str], None]

SWITCH = "SEARCHER_MPS"
"""The environment variable that keeps it from being started: ``off``."""

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
DEFAULT_PIPES = Path("/tmp/nvidia-mps")

PROBE = "import sys, torch; [torch.zeros(1, device=f'cuda:{n}') for n in range(int(sys.argv[1]))]"
"""The program that opens so many GPUs."""

PROBE_S = 60.0
"""Seconds in which a process must have opened every GPU through it."""

_START_S = 30.0
"""Seconds for the daemon to go into the background, and for its watchdog to have ended it."""

# The standard input closes when the driver ends, however it ends. Its trials end then too, so that the daemon
# has no clients; ten seconds later it does not wait for them.
_WATCHDOG = f'cat; echo quit -t 10 | {CONTROL}; rm -rf "${PIPES}"'


def obtainable() -> bool:
    """Whether trials that share a GPU here would have it."""
    return not _is_off() and (_configured() or shutil.which(CONTROL) is not None)


@contextmanager
def served(gpus: int, say: Say) -> Iterator[bool]:
    """MPS for the processes that are started within it: one that runs already, or one of this driver's own.

    Args:
        gpus: How many GPUs must be seen through it.
        say: Called with a line where it could be started and does not work.

    Yields:
        Whether they have it.
    """
    if _configured() or not obtainable():
        yield obtainable()
        return
    # The names of sockets are short, and a user's own temporary folder may be deep.
    folder = tempfile.mkdtemp(prefix="mps-", dir="/tmp")
    with _daemon(os.environ | {PIPES: folder, LOGS: folder}, gpus) as lacking:
        if not lacking:
            os.environ[PIPES] = folder
            try:
                yield True
            finally:
                del os.environ[PIPES]
            return
    say(f"no MPS, so trials on one GPU take turns: {lacking}")
    yield False


def _is_off() -> bool:
    return os.environ.get(SWITCH) == "off"


def _configured() -> bool:
    return PIPES in os.environ or DEFAULT_PIPES.exists()


@contextmanager
def _daemon(environment: dict[str, str], gpus: int) -> Iterator[str]:
    """A daemon that ends with the block, or with this process; yields why it cannot be used, or nothing."""
    # Sessions of their own: Ctrl-C and the terminal's end are the driver's.
    watchdog = subprocess.Popen(
        ["sh", "-c", _WATCHDOG],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _started(environment) or _probed(environment, gpus)
    finally:
        assert watchdog.stdin
        watchdog.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # it goes on by itself
            watchdog.wait(_START_S)


def _started(environment: dict[str, str]) -> str:
    return _failure([CONTROL, "-d"], environment, _START_S)


def _probed(environment: dict[str, str], gpus: int) -> str:
    # Also where CUDA_VISIBLE_DEVICES is applied twice, by the daemon and in its clients, and hides a GPU.
    return _failure([sys.executable, "-P", "-c", PROBE, str(gpus)], environment, PROBE_S)


def _failure(command: list[str], environment: dict[str, str], seconds: float) -> str:
    """Why a command failed, in one line; nothing where it did not."""
    with tempfile.TemporaryFile() as said:  # a pipe would be held open by what stays in the background
        try:
            subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                timeout=seconds,
                check=True,
            )
        except subprocess.TimeoutExpired:
            return f"{Path(command[0]).name} took longer than {seconds:.0f} s"
        except subprocess.CalledProcessError as error:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else f"{Path(command[0]).name} ended with {error.returncode}"
    return ""
