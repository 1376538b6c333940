"""Searches by real processes, killed and interrupted; and what a trial's end does to a search."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import SEARCH, Driver, Run
from tests.helpers.processes import (
    children,
    gone,
    hold_after,
    outcomes,
    states,
    trial_processes,
    trials,
    until,
)

TRIALS = 4
QUICK = ["run", "--study", "tiny", "--workers", "2", "--set", "budget.epochs=1", "--set", "budget.trials=2"]
KNOWN = [{"growth_rate": 4, "int8": True}, {"growth_rate": 2, "int8": False}]


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


def kill(running: subprocess.Popen[str]) -> None:
    """Kill a driver, and wait until its trials have ended as well."""
    orphans = trial_processes(running.pid)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    until(lambda: all(map(gone, orphans)))


@pytest.mark.slow
def test_driver_killed_then_resumed(place: Path, run_command: Run, driver: Driver):
    running = driver()
    until(lambda: len(trial_processes(running.pid)) == 2)
    kill(running)
    result = run_command(*SEARCH)
    assert result.returncode == 0, result.stdout + result.stderr
    check_counts(place)


@pytest.mark.slow
def test_a_second_driver_is_refused_and_a_trial_that_is_killed_is_tried_again(
    place: Path, run_command: Run, driver: Driver
):
    running = driver()
    until(lambda: len(trial_processes(running.pid)) == 2)
    os.kill(trial_processes(running.pid)[0], signal.SIGKILL)
    running.send_signal(signal.SIGSTOP)
    second = run_command(*SEARCH)
    running.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert f"pid {running.pid}" in second.stderr
    assert running.wait(600) == 0, (place / "driver.log").read_text()
    check_counts(place)
    assert "killed by SIGKILL" in (place / "driver.log").read_text()
    assert sum("retry_of" in t.user_attrs for t in trials(place)) == 1


DEADLY = """
import os, signal

def top1(measurement):
    os.kill(os.getpid(), signal.SIGKILL)

METRICS = {"top1": top1}
"""


def test_a_trial_that_is_always_killed_fails_after_two_retries(place: Path, run_command: Run):
    space = place / "spaces" / "tiny.py"
    space.write_text(space.read_text() + "\nENQUEUE = []\n")
    quality = place / "objectives" / "quality.py"
    quality.parent.mkdir()
    quality.write_text(DEADLY)
    result = run_command(*QUICK, "--set", "budget.trials=1")
    assert result.returncode == 1, result.stderr
    assert [t.user_attrs["outcome"] for t in trials(place)] == ["put back", "put back", "failed"]
    assert "0 complete, 1 failed" in result.stdout


@pytest.mark.slow
def test_interrupt_stops_cleanly_and_the_same_command_goes_on(place: Path, run_command: Run, driver: Driver):
    hold_after(place, 1)
    running = driver()
    until(lambda: states(place)["COMPLETE"] == 1)
    until(lambda: len(trial_processes(running.pid)) == 2)
    processes = trial_processes(running.pid)
    running.send_signal(signal.SIGINT)
    assert running.wait(600) == 130
    (place / "hold").unlink()
    assert all(map(gone, processes))
    assert "the same command goes on" in (place / "driver.log").read_text()
    assert "Traceback" not in (place / "driver.log").read_text()
    assert states(place)["RUNNING"] == 0
    assert run_command(*SEARCH).returncode == 0
    check_counts(place)


def test_a_trial_that_raises_fails_and_the_study_goes_on(place: Path, run_command: Run):
    space = place / "spaces" / "tiny.py"
    space.write_text(
        space.read_text().replace('"blocks": [1, 1, 1, 1]', '"blocks": [1] * (4 if trial.number else 9)')
    )
    result = run_command(*QUICK)
    assert result.returncode == 0, result.stderr
    assert "1 complete, 1 failed" in result.stdout
    assert "trial 0: FAILED: " in result.stdout
    assert trials(place)[0].user_attrs["reason"] in result.stdout


@pytest.mark.slow
def test_a_search_that_was_killed_finds_what_an_undisturbed_one_finds(
    place: Path, run_command: Run, driver: Driver
):
    alone = ("--workers", "1", "--set", "budget.epochs=2")
    hold_after(place, 2)
    running = driver(*alone)
    until(lambda: states(place)["COMPLETE"] == 2 and len(trial_processes(running.pid)) == 1)
    kill(running)
    (place / "hold").unlink()
    assert run_command(*SEARCH, *alone).returncode == 0
    check_counts(place)
    assert run_command(*SEARCH, *alone, "--runs-dir", "undisturbed").returncode == 0
    assert outcomes(place / "runs") == outcomes(place / "undisturbed")


def test_a_result_that_was_not_told_is_told_after_a_crash(place: Path, run_command: Run):
    """The state that a driver leaves which dies between a trial's end and telling Optuna."""
    assert run_command(*QUICK).returncode == 0
    database = sqlite3.connect(place / "runs" / "optuna.db")
    with database:
        database.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")
        database.execute("DELETE FROM trial_values WHERE trial_id = 2")
    database.close()
    before = (place / "runs" / "tiny@digits" / "trial-00001" / "metrics.json").read_bytes()
    result = run_command(*QUICK)
    assert result.returncode == 0, result.stderr
    assert len(trials(place)) == 2
    assert states(place)["COMPLETE"] == 2
    values = json.loads(before)["metrics"]
    assert trials(place)[1].values == [values["top1"], values["micronet_score:imt-2022"]]


def test_a_metric_that_is_not_finite_fails_its_trial_alone(place: Path, run_command: Run):
    quality = place / "objectives" / "quality.py"
    quality.parent.mkdir()
    quality.write_text("def top1(m):\n    return float('nan')\nMETRICS = {'top1': top1}\n")
    result = run_command(*QUICK)
    assert result.returncode == 1
    assert "metric top1 is nan, expected a finite number" in result.stdout
    assert "0 complete, 2 failed" in result.stdout
    folder = place / "runs" / "tiny@digits" / "trial-00000"
    assert "Traceback" in (folder / "error.txt").read_text()


@pytest.mark.slow
def test_interrupted_while_it_starts(place: Path, driver: Driver):
    running = driver()
    until(lambda: bool(trial_processes(running.pid)) or bool(children(running.pid)))
    time.sleep(0.5)
    for pid in [running.pid, *children(running.pid)]:
        os.kill(pid, signal.SIGINT)
    assert running.wait(600) == 130, (place / "driver.log").read_text()
    assert "Traceback" not in (place / "driver.log").read_text()
