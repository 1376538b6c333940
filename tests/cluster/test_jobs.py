"""Trials as jobs, by submitit's own executors: what Slurm's do as well, without Slurm."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from searcher.config.cluster import Cluster
from searcher.config.recipe import Model, Recipe, Train
from searcher.config.study import StudyFile
from searcher.execution.cluster.mailbox import Files, Host, Mailbox
from searcher.execution.cluster.submitit import LocalJobs
from searcher.execution.cluster.watcher import Notices, Watcher
from searcher.execution.layout import JOB
from searcher.execution.messages import Failed, GpuMemory, Job, Progress
from searcher.searching.storage import studies
from tests.conftest import Run, command
from tests.helpers.processes import gone, outcomes, states, until

STUDY = StudyFile("micronet").study("digits")
RECIPE = Recipe(model=Model(name="densenet", args={}), stages=(Train(),))
ASKED = ["run", "--study", "tiny", "--cluster", "local", "--workers", "2", "--set", "budget.trials=2"]
MORE = ["--set", "budget.trials=3"]
EPOCHS, ENDLESS = 8, 100_000
LONG = ["--set", f"budget.epochs={EPOCHS}"]


def found(place: Path) -> list[optuna.trial.FrozenTrial]:
    return studies.load(place / "runs", "tiny@digits")[0].trials


def jobs(place: Path) -> list[str]:
    return [t.user_attrs["job"]["id"] for t in found(place) if "id" in t.user_attrs.get("job", {})]


def tasks(place: Path) -> list[int]:
    """The processes of the trials that run, by what they said."""
    pids = []
    for said in (place / "runs" / "tiny@digits").glob(f"*/{JOB}/said.jsonl"):
        first, newline, _ = said.read_text().partition("\n")
        pid = json.loads(first)["pid"] if newline else 0
        if b"_submit" in (
            Path(f"/proc/{pid}/cmdline").read_bytes() if Path(f"/proc/{pid}").exists() else b""
        ):
            pids.append(pid)
    return pids


def started(place: Path, epochs: int) -> Iterator[subprocess.Popen[bytes]]:
    """A search by jobs in the background; it and its jobs end with the test."""
    asked = command(*ASKED, "--set", f"budget.epochs={epochs}")
    with (place / "driver.log").open("w") as log:
        running = subprocess.Popen(asked, cwd=place, stdout=log, stderr=log)
        yield running
        running.kill()
        running.wait()
    for pid in tasks(place):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def driver(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One whose trials take some seconds."""
    yield from started(place, EPOCHS)


@pytest.fixture
def endless(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One whose trials do not end within a test."""
    yield from started(place, ENDLESS)


@pytest.mark.slow
def test_a_driver_that_is_killed_finds_its_jobs_again(
    place: Path, run_command: Run, driver: subprocess.Popen[bytes]
):
    until(lambda: len(tasks(place)) == 2)
    running = tasks(place)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    submitted = jobs(place)
    assert all(Path(f"/proc/{pid}").exists() for pid in running)
    result = run_command(*ASKED, *LONG, *MORE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(found(place)) == 3
    assert states(place) == {"COMPLETE": 3}
    assert jobs(place)[: len(submitted)] == submitted

    # The same trials, each in a process of the driver's, come to the same.
    here = [a for a in ASKED if a not in ("--cluster", "local")]
    alone = run_command(*here, *LONG, *MORE, "--runs-dir", "alone")
    assert alone.returncode == 0, alone.stdout + alone.stderr
    assert outcomes(place / "alone") == outcomes(place / "runs")


@pytest.mark.slow
def test_a_job_that_is_killed_is_tried_again(place: Path, driver: subprocess.Popen[bytes]):
    until(lambda: len(tasks(place)) == 2)
    os.kill(tasks(place)[0], signal.SIGKILL)
    assert driver.wait(1200) == 0, (place / "driver.log").read_text()
    assert states(place) == {"COMPLETE": 2, "FAIL": 1}
    put_back = next(t for t in found(place) if t.state.name == "FAIL")
    assert put_back.user_attrs["reason"] == "its process ended without a result"
    again = next(t for t in found(place) if t.user_attrs.get("retry_of") == put_back.number)
    assert again.user_attrs["attempt"] == 1


@pytest.mark.slow
def test_cancelled_from_another_process(place: Path, run_command: Run, endless: subprocess.Popen[bytes]):
    until(lambda: len(tasks(place)) == 2)
    running = tasks(place)
    assert f"pid {endless.pid}" in " ".join(run_command("status").stdout.split())
    result = run_command("cancel", "tiny")
    assert result.returncode == 0, result.stderr
    assert f"pid {endless.pid}" in result.stdout
    assert endless.wait(600) == 130
    assert "cancelled; the same command" in (place / "driver.log").read_text()
    until(lambda: all(map(gone, running)))
    assert states(place) == {"FAIL": 2, "WAITING": 2}
    assert "nothing runs" in run_command("cancel", "--all").stdout


@pytest.mark.slow
def test_jobs_without_a_driver_are_cancelled(place: Path, run_command: Run, endless: subprocess.Popen[bytes]):
    until(lambda: len(tasks(place)) == 2)
    running = tasks(place)
    endless.send_signal(signal.SIGINT)
    assert endless.wait(600) == 130
    assert "its jobs go on" in (place / "driver.log").read_text()
    assert tasks(place) == running
    # A driver of this machine does not train again what runs elsewhere.
    refused = run_command("run", "--study", "tiny", "--set", f"budget.epochs={ENDLESS}")
    assert refused.returncode == 2
    assert "go on with --cluster local, or end them: searcher cancel tiny@digits" in refused.stderr
    assert tasks(place) == running
    assert "2 jobs without a driver are cancelled" in run_command("cancel", "tiny").stdout
    assert states(place) == {"FAIL": 2, "WAITING": 2}
    assert "nothing runs" in run_command("cancel", "tiny").stdout
    until(lambda: all(map(gone, running)))


@pytest.mark.slow
def test_two_trials_share_a_job_and_a_batch_shares_a_driver(place: Path, run_command: Run):
    text = (place / "studies" / "tiny.toml").read_text().replace("epochs = 2", "epochs = 1")
    for name, trials in (("tiny", 2), ("other", 1)):
        (place / "studies" / f"{name}.toml").write_text(text.replace("trials = 4", f"trials = {trials}"))
    asked = ("--cluster", "local", "--workers", "2", "--trials-per-gpu", "2")
    result = run_command("batch", "studies/tiny.toml", "other", *asked)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(set(jobs(place))) == 1
    assert len(jobs(place)) == 2
    assert "tiny@digits     2/2" in result.stdout
    assert "other@digits    1/1" in result.stdout


@pytest.mark.slow
def test_inside_the_driver(place: Path, run_command: Run):
    result = run_command(
        *("run", "--study", "tiny", "--cluster", "debug", "--set", "budget.trials=1"),
        *("--set", "early_stopping.enabled=true", "--set", "store=true"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert states(place) == {"COMPLETE": 1}


@pytest.mark.slow
def test_what_ran_inside_a_driver_that_was_killed_is_put_back(place: Path, run_command: Run):
    asked = ["run", "--study", "tiny", *LONG, "--set", "budget.trials=1"]
    curve = place / "runs" / "tiny@digits" / "trial-00000" / "curve.csv"
    running = subprocess.Popen(command(*asked, "--cluster", "debug"), cwd=place, stdout=subprocess.DEVNULL)
    until(lambda: curve.exists() and "train" in curve.read_text())
    running.kill()
    running.wait()
    result = run_command(*asked)
    assert result.returncode == 0, result.stdout + result.stderr
    assert states(place) == {"FAIL": 1, "COMPLETE": 1}
    assert found(place)[1].user_attrs["attempt"] == 0


def test_a_job_whose_id_was_not_written_down_is_found_by_its_name(tmp_path: Path):
    folder = tmp_path / "submitted"
    marker = tmp_path / "ran"
    job_id = LocalJobs().submit(
        Cluster(), folder, "searcher-a-0-1", 1, subprocess.call, ["touch", str(marker)]
    )
    assert LocalJobs().named(folder, "searcher-a-0-1") == job_id
    assert LocalJobs().named(folder, "searcher-a-0-2") is None
    until(lambda: marker.exists() and job_id in LocalJobs().ended([job_id])[0])


# --- what is said through files ---


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(STUDY, 0, RECIPE, tmp_path, 1)


def test_what_is_said_is_heard_once_and_a_torn_line_waits(tmp_path: Path, job: Job):
    hosts: list[Host] = []
    files, mailbox = Files(tmp_path), Mailbox(tmp_path, job, hosts.append)
    assert mailbox.read() == []
    assert not mailbox.begun
    files.begin()
    files.send(Progress("train", 1, 3, 0.5, 1.0, 1))
    assert mailbox.read() == [Progress("train", 1, 3, 0.5, 1.0, 1)]
    assert mailbox.begun
    assert [h.pid for h in hosts] == [os.getpid()] * 2
    assert abs(hosts[1].ahead) < 5
    with (tmp_path / "said.jsonl").open("a") as file:
        file.write('{"kind": "Failed", "rea')
    assert mailbox.read() == []
    with (tmp_path / "said.jsonl").open("a") as file:
        file.write('son": "no"}\n')
    assert mailbox.read() == [Failed("no")]
    # Another driver hears all of it again.
    assert len(Mailbox(tmp_path, job, hosts.append).read()) == 2


def test_progress_without_a_quality_comes_through(tmp_path: Path, job: Job):
    Files(tmp_path).send(Progress("load", 0, 1, float("nan")))
    (heard,) = Mailbox(tmp_path, job, print).read()
    assert isinstance(heard, Progress)
    assert heard.accuracy != heard.accuracy


@pytest.mark.parametrize(
    "said",
    [
        Progress("train", 1, 3, 0.5, gpu=GpuMemory(4, 3, 2, 9)),
        Failed("out of GPU memory", out_of_memory=True, gpu=GpuMemory(4, 3, 2, 9)),
        Failed("out of GPU memory", out_of_memory=True),
    ],
)
def test_what_is_said_of_a_gpu_comes_through(said: Progress | Failed, tmp_path: Path, job: Job):
    Files(tmp_path).send(said)
    assert Mailbox(tmp_path, job, print).read() == [said]


def test_what_0_1_has_said_is_understood(tmp_path: Path, job: Job):
    lines = [
        {"kind": "Progress", "stage": "train", "epoch": 1, "epochs": 3, "accuracy": 0.5, "rung": 1},
        {"kind": "Failed", "reason": "no"},
    ]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    heard = Mailbox(tmp_path, job, print).read()
    assert heard == [Progress("train", 1, 3, 0.5, rung=1), Failed("no")]


def test_a_trial_at_a_rung_waits_for_its_answer(tmp_path: Path, job: Job):
    Mailbox(tmp_path, job, print).go_on(3)
    Files(tmp_path).wait(3)


def test_a_clock_that_is_off_is_said_once():
    said: list[str] = []
    watcher = Watcher(LocalJobs(), 1.0, Notices(said.append))
    for ahead in (3.0, 90.0, 91.0, -100.0):
        watcher.met(Host("node1" if ahead > 0 else "node2", 1, ahead))
    assert [line.split(":")[0] for line in said] == [
        "the clock of node1 is 90 s ahead of the file system's",
        "the clock of node2 is 100 s behind the file system's",
    ]
