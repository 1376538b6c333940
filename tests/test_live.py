import io
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from rich.console import Console

from searcher.config.study import StudyFile
from searcher.searching.state import State
from searcher.ui.terminal.search import render
from searcher.wording import duration, number
from tests.conftest import command

STUDY = StudyFile("micronet").study("digits")


def measured(top1: float, score: float) -> optuna.trial.FrozenTrial:
    recipe = {"model": {"name": "densenet", "args": {"growth_rate": 4}}, "stages": [{"kind": "train"}]}
    metrics = {
        "top1": top1,
        "micronet_score:imt-2022": score,
        "params": 70_922,
        "macs": 1e6,
        "sparsity": 0.0,
    }
    return optuna.trial.create_trial(values=[top1, score], user_attrs={"metrics": metrics, "recipe": recipe})


def text(state: State, width: int, height: int) -> str:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(render(state, width, height))
    return console.export_text()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_view_fits_the_terminal(width: int):
    state = State(STUDY, workers=2)
    state.add([measured(0.9 + i / 1000, 0.01 + i / 1000) for i in range(50)])
    shown = text(state, width, height=30)
    assert len(shown.splitlines()) <= 30
    assert "50 complete" in shown
    assert "densenet k=4" in shown


def test_without_a_feasible_trial_the_front_says_so_and_shows_the_distance():
    state = State(STUDY, workers=2)
    state.add([measured(0.85, 0.01)])
    shown = text(state, 200, height=30)
    assert "no trial satisfies top1 >= 0.9 yet" in shown
    assert "5.6%" in shown


def test_figures_are_whole_on_a_narrow_terminal():
    state = State(STUDY, workers=2)
    state.add([measured(0.85, 0.012345)])
    shown = text(state, 60, height=30)
    assert "0.8500" in shown
    assert "0.01235" in shown
    assert "…" not in shown


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, "?"), (42.4, "42 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_durations(seconds: float | None, expected: str):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0167, "0.01670"), (0.9004, "0.9004"), (70_922, "70,922"), (0, "0.0000")]
)
def test_numbers(value: float, expected: str):
    assert number(value) == expected


@pytest.mark.slow
def test_in_a_terminal_the_view_is_live_and_ctrl_c_stops_it(place: Path):
    ours, theirs = pty.openpty()
    asked = command("run", "--study", "tiny", "--set", "budget.trials=500", "--set", "budget.epochs=30")
    environment = {**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        asked, cwd=place, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    seen = ""
    try:
        end = time.monotonic() + 600
        while not (re.search(r"[1-9]\d* complete", seen) and re.search(r"train +\d+/30 +0\.\d{4,5}\b", seen)):
            assert time.monotonic() < end, seen
            if select.select([ours], [], [], 1)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
        os.killpg(process.pid, signal.SIGINT)
        while process.poll() is None:
            assert time.monotonic() < end + 600, seen
            if select.select([ours], [], [], 0.2)[0]:
                seen += os.read(ours, 65536).decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 130
    assert "tiny on digits" in seen
    assert "stopped: the same command goes on" in seen
    assert "Traceback" not in seen
