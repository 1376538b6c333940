import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

import pytest

# Tests run side by side, each on one core; where a trial takes more threads, those that wait do not spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell ignores Ctrl-C in what it starts in the background, and whatever that starts inherits it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TINY_SPACE = """
from searcher.recipe import Model, Quantize, Recipe, Train

ENQUEUE = [{"growth_rate": 4, "int8": True}, {"growth_rate": 2, "int8": False}]


def suggest(trial):
    args = {"growth_rate": trial.suggest_int("growth_rate", 2, 6), "blocks": [1, 1, 1, 1]}
    stages = [Train(lr=0.05)]
    if trial.suggest_categorical("int8", [False, True]):
        stages.append(Quantize(calibration_images=64))
    return Recipe(model=Model(name="densenet", args=args), stages=tuple(stages))
"""
# Every trial is trained, and to its end: what is saved and stopped has its own tests.
TINY_STUDY = """
task = "digits"
space = "tiny"
store = false
screening = false
early_stopping = { enabled = false }
[[objectives]]
metric = "top1"
goal = "maximize"
[[objectives]]
metric = "micronet_score"
variant = "imt-2022"
goal = "minimize"
[budget]
trials = 4
epochs = 2
"""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data sets and checkpoints, by SEARCHER_DATA."""
    given = os.environ.get("SEARCHER_DATA")
    if not given:
        pytest.skip("SEARCHER_DATA is not set")
    return Path(given)


def make_place(folder: Path) -> Path:
    """Make a folder that of a user with a small study of their own, `tiny`."""
    for name, text in {"spaces/tiny.py": TINY_SPACE, "studies/tiny.toml": TINY_STUDY}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's folder with a small study of their own, `tiny`."""
    return make_place(tmp_path)


@contextlib.contextmanager
def modules_of(folder: Path) -> Iterator[None]:
    """Imports that end with the block: the modules of the folder, and its place on the path."""
    paths, modules = sys.path.copy(), set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = paths
        for name in set(sys.modules) - modules:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That folder as the current one, with the modules in it."""
    monkeypatch.chdir(place)
    monkeypatch.delenv("SEARCHER_PATH", raising=False)
    with modules_of(place):
        yield place


Searcher = Callable[..., subprocess.CompletedProcess[str]]


def command(*args: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "searcher", *args]


@pytest.fixture
def searcher(place: Path) -> Searcher:
    """Run the command in the user's folder and return what it printed."""

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SEARCHER")}
        return subprocess.run(
            command(*args), cwd=place, env=clean, capture_output=True, text=True, timeout=1200
        )

    return call


class Ran(NamedTuple):
    """What a command left: its exit status, and what it printed."""

    status: int
    out: str
    err: str

    # The names of a process that has ended, for what is asserted of both.
    returncode = property(lambda self: self.status)
    stdout = property(lambda self: self.out)
    stderr = property(lambda self: self.err)


Run = Callable[..., Ran]


@contextlib.contextmanager
def commands_in(folder: Path) -> Iterator[Run]:
    """Commands in a folder within this process, whose trials are forked from one server for all tests."""
    # Not before: most tests do without the command line.
    from searcher.ui.cli import main

    def call(*args: str | Path) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with modules_of(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main([str(arg) for arg in args])
                status = 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        return Ran(status, out.getvalue(), err.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for key in [key for key in os.environ if key.startswith("SEARCHER")]:
            patch.delenv(key)
        # A search starts the server of its trials ahead of them: what is refused does without.
        patch.setattr(forkserver, "ensure_running", lambda: None)
        yield call


@pytest.fixture
def run_command(place: Path) -> Iterator[Run]:
    """Run the command in the user's folder within this process; an unexpected exception leaves it."""
    with commands_in(place) as call:
        yield call


SEARCH = ["run", "--study", "tiny", "--workers", "2", "--set", "budget.epochs=5"]
"""A search whose trials take long enough to be killed."""

Driver = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def driver(place: Path) -> Iterator[Driver]:
    """Start that search in a process, with more options if wanted; it ends with the test."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((place / "driver.log").open("a"))

        def start(*options: str) -> subprocess.Popen[str]:
            asked = command(*SEARCH, *options)
            process = stack.enter_context(
                subprocess.Popen(asked, cwd=place, stdout=log, stderr=log, text=True)
            )
            stack.callback(process.kill)
            return process

        yield start
    print((place / "driver.log").read_text())  # beside the error of a test that has failed
