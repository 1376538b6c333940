import json
import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import optuna
import pytest

from searcher.search.storage import studies
from tests.conftest import Searcher, command

TRIALS = 6
TOTAL = f"budget.trials={TRIALS}"
ASKED = ["run", "--study", "tiny", "--workers", "2", "--set", "budget.epochs=15", "--set", TOTAL]
Driver = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def driver(place: Path) -> Iterator[Driver]:
    """Start a search in the background, with more options if wanted; it ends with the test."""
    with ExitStack() as stack:
        log = stack.enter_context((place / "driver.log").open("a"))

        def start(*options: str) -> subprocess.Popen[str]:
            asked = command(*ASKED, *options)
            process = stack.enter_context(
                subprocess.Popen(asked, cwd=place, stdout=log, stderr=log, text=True)
            )
            stack.callback(process.kill)
            return process

        yield start


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def trials(place: Path) -> list[optuna.trial.FrozenTrial]:
    if "tiny@digits" not in studies.stored_names(place / "runs"):
        return []
    return studies.load(place / "runs", "tiny@digits")[0].trials


def states(place: Path) -> Counter[str]:
    return Counter(t.state.name for t in trials(place))


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [pid for pid, its_parent in parents.items() if its_parent == parent]


def trial_processes(driver: int) -> list[int]:
    """The driver's grandchildren: its children are the server that forks trials and Python's own helper."""
    return [pid for child in children(driver) for pid in children(child)]


def outcomes(runs: Path) -> dict[int, tuple[dict[str, object], list[float]]]:
    """Parameters and values of the complete trials, by ordinal."""
    found = studies.load(runs, "tiny@digits")[0].trials
    return {t.user_attrs["ordinal"]: (t.params, t.values) for t in found if t.state.name == "COMPLETE"}


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def check_counts(place: Path) -> None:
    """Exactly the asked number of complete trials, and no configuration was put back twice."""
    found = trials(place)
    assert states(place)["COMPLETE"] == TRIALS
    assert states(place)["RUNNING"] == states(place)["WAITING"] == 0
    retries = [t.user_attrs["retry_of"] for t in found if "retry_of" in t.user_attrs]
    assert len(retries) == len(set(retries))
    complete = [t for t in found if t.state.name == "COMPLETE"]
    assert sorted(t.user_attrs["ordinal"] for t in complete) == list(range(TRIALS))
    assert all(any(t.params == known for t in complete) for known in KNOWN)


DEADLY = """
import os, signal

def top1(measurement):
    os.kill(os.getpid(), signal.SIGKILL)

METRICS = {"top1": top1}
"""
KNOWN = [{"growth_rate": 4, "int8": True}, {"growth_rate": 2, "int8": False}]


@pytest.mark.parametrize("delay", [0.0, 0.3, 1.0])
def test_driver_killed_then_resumed(place: Path, searcher: Searcher, driver: Driver, delay: float):
    running = driver()
    until(lambda: len(trial_processes(running.pid)) == 2)
    time.sleep(delay)
    orphans = trial_processes(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    until(lambda: all(map(gone, orphans)), 30)
    result = searcher(*ASKED)
    assert result.returncode == 0, result.stdout + result.stderr
    check_counts(place)


def test_trial_killed_is_tried_again(place: Path, driver: Driver):
    running = driver()
    until(lambda: len(trial_processes(running.pid)) == 2)
    os.kill(trial_processes(running.pid)[0], signal.SIGKILL)
    assert running.wait(120) == 0, (place / "driver.log").read_text()
    check_counts(place)
    assert "killed by SIGKILL" in (place / "driver.log").read_text()
    assert sum("retry_of" in t.user_attrs for t in trials(place)) == 1


def test_a_trial_that_is_always_killed_fails_after_two_retries(place: Path):
    space = place / "spaces" / "tiny.py"
    space.write_text(space.read_text() + "\nENQUEUE = []\n")
    quality = place / "objectives" / "quality.py"
    quality.parent.mkdir()
    quality.write_text(DEADLY)
    result = subprocess.run(
        command("run", "--study", "tiny", "--workers", "1", "--set", "budget.trials=1"),
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 1, result.stderr
    assert [t.user_attrs["outcome"] for t in trials(place)] == ["put back", "put back", "failed"]
    assert "0 complete, 1 failed" in result.stdout


def test_interrupt_stops_cleanly_and_the_same_command_goes_on(
    place: Path, searcher: Searcher, driver: Driver
):
    running = driver()
    until(lambda: states(place)["COMPLETE"] >= 1)
    until(lambda: len(trial_processes(running.pid)) == 2)
    processes = trial_processes(running.pid)
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    assert all(map(gone, processes))
    assert "the same command goes on" in (place / "driver.log").read_text()
    assert "Traceback" not in (place / "driver.log").read_text()
    assert states(place)["RUNNING"] == 0
    assert searcher(*ASKED).returncode == 0
    check_counts(place)


def test_a_trial_that_raises_fails_and_the_study_goes_on(place: Path, searcher: Searcher):
    space = place / "spaces" / "tiny.py"
    space.write_text(
        space.read_text().replace('"blocks": [1, 1, 1, 1]', '"blocks": [1] * (4 if trial.number else 9)')
    )
    result = searcher("run", "--study", "tiny")
    assert result.returncode == 0, result.stderr
    assert "3 complete, 1 failed" in result.stdout
    assert "trial 0: FAILED: " in result.stdout
    assert trials(place)[0].user_attrs["reason"] in result.stdout


def test_a_search_that_was_killed_finds_what_an_undisturbed_one_finds(
    place: Path, searcher: Searcher, driver: Driver
):
    alone = ("--workers", "1")
    running = driver(*alone)
    until(lambda: states(place)["COMPLETE"] >= 2 and len(trial_processes(running.pid)) == 1)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert searcher(*ASKED, *alone).returncode == 0
    check_counts(place)
    assert searcher(*ASKED, *alone, "--runs-dir", "undisturbed").returncode == 0
    assert outcomes(place / "runs") == outcomes(place / "undisturbed")


def test_a_result_that_was_not_told_is_told_after_a_crash(place: Path, searcher: Searcher):
    """The state that a driver leaves which dies between a trial's end and telling Optuna."""
    assert searcher(*ASKED).returncode == 0
    database = sqlite3.connect(place / "runs" / "optuna.db")
    with database:
        database.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 3")
        database.execute("DELETE FROM trial_values WHERE trial_id = 4")
    database.close()
    before = (place / "runs" / "tiny@digits" / "trial-00003" / "metrics.json").read_bytes()
    result = searcher(*ASKED)
    assert result.returncode == 0, result.stderr
    assert len(trials(place)) == TRIALS
    assert states(place)["COMPLETE"] == TRIALS
    values = json.loads(before)["metrics"]
    assert trials(place)[3].values == [values["top1"], values["micronet_score:imt-2022"]]


def test_a_metric_that_is_not_finite_fails_its_trial_alone(place: Path, searcher: Searcher):
    quality = place / "objectives" / "quality.py"
    quality.parent.mkdir()
    quality.write_text("def top1(m):\n    return float('nan')\nMETRICS = {'top1': top1}\n")
    result = searcher("run", "--study", "tiny", "--set", "budget.trials=2")
    assert result.returncode == 1
    assert "metric top1 is nan, expected a finite number" in result.stdout
    assert "0 complete, 2 failed" in result.stdout
    folder = place / "runs" / "tiny@digits" / "trial-00000"
    assert "Traceback" in (folder / "error.txt").read_text()


def test_interrupted_while_it_starts(place: Path, driver: Driver):
    running = driver()
    until(lambda: bool(trial_processes(running.pid)) or bool(children(running.pid)))
    time.sleep(0.5)
    for pid in [running.pid, *children(running.pid)]:
        os.kill(pid, signal.SIGINT)
    assert running.wait(60) == 130, (place / "driver.log").read_text()
    assert "Traceback" not in (place / "driver.log").read_text()


def test_a_second_driver_is_refused(place: Path, searcher: Searcher, driver: Driver):
    running = driver("--set", "budget.trials=1000")
    until(lambda: len(trial_processes(running.pid)) == 2)
    second = searcher(*ASKED)
    assert second.returncode == 2
    assert f"pid {running.pid}" in second.stderr
    assert running.poll() is None
