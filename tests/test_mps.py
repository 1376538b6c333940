"""MPS of a driver's own: started where it can be had, said where it cannot, and ended with its driver."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from searcher.execution import local, mps
from tests.helpers.processes import until

PROBE = mps.PROBE

CONTROL = """#!/bin/sh
echo "$* $CUDA_MPS_PIPE_DIRECTORY" >> {log}
if [ "$1" = -d ]; then {start}; else read -r word; echo "$word" >> {log}; fi
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the control program is told on a machine where MPS does not run and every GPU opens through it."""
    monkeypatch.setattr(mps, "PROBE", "")
    for name in (mps.PIPES, mps.LOGS, mps.SWITCH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mps, "DEFAULT_PIPES", tmp_path / "none")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    install(tmp_path)
    return tmp_path / "log"


def install(folder: Path, start: str = ":") -> None:
    control = folder / mps.CONTROL
    control.write_text(CONTROL.format(log=folder / "log", start=start))
    control.chmod(0o755)


def use(gpus: int = 1) -> tuple[bool, list[str], str | None]:
    """Use MPS as a launcher does: whether it is there, what was said, the folder of its pipes."""
    said: list[str] = []
    with mps.served(gpus, said.append) as there:
        pipes = os.environ.get(mps.PIPES)
    return there, said, pipes


def test_a_daemon_is_started_once_and_ends_with_its_driver(log: Path):
    there, said, pipes = use()
    assert (there, said) == (True, [])
    assert pipes is not None
    assert log.read_text().splitlines() == [f"-d {pipes}", f" {pipes}", "quit -t 10"]
    assert not Path(pipes).exists()
    assert mps.PIPES not in os.environ


def test_a_daemon_ends_with_an_error_too(log: Path):
    with pytest.raises(KeyboardInterrupt), mps.served(1, print):
        raise KeyboardInterrupt
    assert log.read_text().splitlines()[-1] == "quit -t 10"
    assert mps.PIPES not in os.environ


def test_where_cuda_cannot_be_opened_through_it_it_is_stopped_and_said(
    log: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mps, "PROBE", PROBE)
    there, said, pipes = use(gpus=99)
    assert (there, pipes) == (False, None)
    (line,) = said
    assert line.startswith("no MPS, so trials on one GPU take turns: ")
    assert "\n" not in line
    assert log.read_text().splitlines()[-1] == "quit -t 10"


def test_a_daemon_that_does_not_start_is_said(log: Path):
    install(log.parent, "echo first; echo no GPU is here >&2; exit 1")
    assert use() == (False, ["no MPS, so trials on one GPU take turns: no GPU is here"], None)


def test_a_probe_that_does_not_end_is_ended(log: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mps, "PROBE_S", 0.1)
    monkeypatch.setattr(mps, "PROBE", "import time; time.sleep(600)")
    there, (line,), _ = use()
    assert not there
    assert line.endswith("took longer than 0 s")


def test_a_daemon_in_the_background_is_not_waited_for(log: Path):
    install(log.parent, "sleep 60 & echo $! > " + str(log.parent / "pid"))
    assert use()[0]
    os.kill(int((log.parent / "pid").read_text()), signal.SIGKILL)


@pytest.mark.parametrize("there", ["by its variable", "by its folder"])
def test_one_that_is_there_is_used_and_left_alone(log: Path, monkeypatch: pytest.MonkeyPatch, there: str):
    if there == "by its variable":
        monkeypatch.setenv(mps.PIPES, "/theirs")
    else:
        monkeypatch.setattr(mps, "DEFAULT_PIPES", log.parent)
    assert mps.obtainable()
    assert use()[:2] == (True, [])
    assert not log.exists()


@pytest.mark.parametrize("why", ["off", "not installed"])
def test_it_is_not_started(log: Path, monkeypatch: pytest.MonkeyPatch, why: str):
    if why == "off":
        monkeypatch.setenv(mps.SWITCH, "off")
    else:
        (log.parent / mps.CONTROL).unlink()
    assert not mps.obtainable()
    assert use() == (False, [], None)
    assert not log.exists()


DRIVER = """
import time
from pathlib import Path
from searcher.execution import mps
mps.DEFAULT_PIPES, mps.PROBE = Path("/none"), ""
with mps.served(1, print) as there:
    print(there, flush=True)
    time.sleep(600)
"""


def test_a_driver_that_is_killed_leaves_no_daemon(log: Path):
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        assert driver.stdout.readline() == "True\n"
        assert "quit" not in log.read_text()
        driver.kill()
    until(lambda: "quit -t 10" in log.read_text(), 60)
    pipes = log.read_text().split()[1]
    until(lambda: not Path(pipes).exists(), 60)


@pytest.mark.parametrize(("start", "workers"), [(":", 8), ("exit 1", 2)])
def test_fewer_trials_share_a_gpu_where_mps_cannot_be_had(
    start: str, workers: int, log: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[str | None] = []
    monkeypatch.setattr(local, "start_server", lambda: seen.append(os.environ.get(mps.PIPES)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    install(log.parent, start)
    said: list[str] = []
    launcher = local.Local(8, said.append, without_mps=2)
    launcher.prepare()
    assert launcher.workers == workers
    assert (seen[0] is None, len(said)) == ((False, 0) if workers == 8 else (True, 1))
    launcher.end()
    assert log.read_text().splitlines()[-1] == "quit -t 10"
    launcher.end()


def test_a_trial_that_is_alone_on_its_gpu_does_without(log: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "start_server", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    launcher = local.Local(2)
    launcher.prepare()
    launcher.end()
    assert not log.exists()
