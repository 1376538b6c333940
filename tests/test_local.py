"""Jobs of this machine: how many run at a time, what is heard of them, what ends with them."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from searcher.config.recipe import Model, Recipe, Train
from searcher.errors import TrialError
from searcher.execution import local, worker
from searcher.execution.gpus import Gpus
from searcher.execution.memory import gpu_memory, ran_out, reason
from searcher.execution.messages import Done, Failed, GpuMemory, Job, Killed, Outcome, Progress
from tests.helpers.studies import study

RECIPE = Recipe(model=Model(name="densenet", args={}), stages=(Train(),))
GIB = 1024**3
HALF_WAY = Progress("train", 1, 2, 0.5)


class Ready:
    """A trial that says a word of its progress, then that it is done."""

    running: list["Ready"]
    most = 0

    def __init__(self, job: Job, seat: object) -> None:
        assert job.folder.is_dir()
        self.seat = seat
        self.job, self._left = job, [HALF_WAY, Done({"top1": 0.5}, 1.0)]
        self._read, self._write = os.pipe()
        os.write(self._write, b"!")
        Ready.running.append(self)
        Ready.most = max(Ready.most, len(Ready.running))

    def fileno(self) -> int:
        return self._read

    def events(self):
        return [self._left.pop(0)] if self._left else []

    def stop(self) -> None:
        Ready.running.remove(self)
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setattr(local, "LocalTrial", Ready)
    monkeypatch.setattr(local, "start_server", lambda: None)
    Ready.running, Ready.most = [], 0
    return [Job(study(), n, RECIPE, tmp_path / "all" / str(n), 1) for n in range(5)]


def test_jobs_run_so_many_at_a_time_and_each_has_its_outcome(jobs: list[Job]):
    heard: list[tuple[int, Progress]] = []
    running = local.run_jobs(jobs, 2, lambda job, said: heard.append((job.number, said)))
    ended = [(job.number, outcome) for job, outcome in running]
    assert Ready.most == 2
    assert Ready.running == []
    assert sorted(number for number, _ in ended) == sorted(number for number, _ in heard) == list(range(5))
    assert all(isinstance(outcome, Done) for _, outcome in ended)


def test_no_jobs_are_no_outcomes(jobs: list[Job]):
    assert list(local.run_jobs([], 2)) == []


def test_whoever_hears_no_more_ends_the_jobs(jobs: list[Job]):
    with closing(local.run_jobs(jobs, 3)) as running:
        next(running)
        assert Ready.running
    assert Ready.running == []


def hungry() -> nn.Module:
    """A network that finds no memory, whatever it is asked to compute."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


HUNGRY = Recipe(model=Model(name="tests.test_local:hungry"), stages=(Train(),))


@pytest.mark.parametrize("others", [0, 1])
def test_a_trial_without_gpu_memory_is_put_back_where_others_had_some(others: int, tmp_path: Path):
    gpus = Gpus(1, 2)
    seat = gpus.join()
    seat.heard(GpuMemory(1, 1, GIB, GIB), trained=True)
    for _ in range(others):
        gpus.join()
    trial = local.LocalTrial(Job(study(), 0, HUNGRY, tmp_path, 1), seat)
    events: list[Progress | Outcome] = []
    while not (events and isinstance(events[-1], Outcome)):
        local.wait_for([trial], 60)
        events += trial.events()
    trial.stop()
    reason = "out of GPU memory"
    alone, beside = Failed(reason, True), Killed(f"{reason}, beside 1 more", counts=False)
    assert events[-1] == (beside if others else alone)
    assert "OutOfMemoryError" in (tmp_path / "error.txt").read_text()
    assert (gpus.room > 0) == (not others)


class PutBackOnce(Ready):
    """A trial that finds no memory the first time."""

    before: set[int]

    def __init__(self, job: Job, seat: object) -> None:
        super().__init__(job, seat)
        if job.number not in PutBackOnce.before:
            PutBackOnce.before.add(job.number)
            self._left = [Killed("out of GPU memory, beside 1 more", counts=False)]


def test_a_job_that_found_no_memory_beside_others_runs_again(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local, "LocalTrial", PutBackOnce)
    PutBackOnce.before = set()
    outcomes = list(local.run_jobs(jobs, 2))
    assert sorted(job.number for job, _ in outcomes) == list(range(5))
    assert all(isinstance(outcome, Done) for _, outcome in outcomes)
    assert PutBackOnce.before == set(range(5))


WAIT = """
import os
import searcher.execution.openmp
print(os.environ.get("GOMP_SPINCOUNT"))
"""
CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.parametrize(
    ("given", "rounds", "left"),
    [
        ({}, "10000", "None"),
        ({"GOMP_SPINCOUNT": "77"}, "77", "77"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "0", "None"),
    ],
)
def test_threads_of_trials_that_wait_soon_sleep_unless_the_user_says_otherwise(given, rounds, left):
    clean = {key: value for key, value in os.environ.items() if key not in CHOICES}
    told = clean | given | {"OMP_DISPLAY_ENV": "VERBOSE"}
    ran = subprocess.run([sys.executable, "-c", WAIT], env=told, capture_output=True, text=True, check=True)
    assert f"GOMP_SPINCOUNT = '{rounds}'" in ran.stderr
    assert ran.stdout.split() == [left]


def test_openmp_is_told_before_anything_loads_torch():
    program = "import sys, {}; print('torch' in sys.modules)"
    assert local.PRELOADED[0] == "searcher.execution.openmp"
    ran = subprocess.run(
        [sys.executable, "-c", program.format("searcher.execution")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["False"]


def test_an_epoch_that_an_earlier_run_has_trained_says_nothing_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said: list[Progress] = []
    memory = GpuMemory(3, 2, 1, 4)
    monkeypatch.setattr(worker, "gpu_memory", lambda gpu: memory)
    channel = SimpleNamespace(send=said.append)
    diary = worker._Diary(Job(study(), 0, RECIPE, tmp_path, 1), channel)
    diary.replay("train", 1, 2, 0.5)
    diary.report("train", 2, 2, 0.6)
    assert [progress.gpu for progress in said] == [None, memory]


def test_without_a_gpu_there_is_no_memory_to_speak_of():
    assert gpu_memory(0) is None  # nor where no process of these has used one


def test_an_error_of_memory_is_told_from_others():
    cuda = RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")
    wrapped = TrialError("in a rehearsal")
    wrapped.__cause__ = torch.OutOfMemoryError("CUDA out of memory")
    assert all(ran_out(error) for error in (cuda, wrapped, wrapped.__cause__))
    assert not any(ran_out(error) for error in (None, MemoryError(), RuntimeError("shape"), TrialError("lr")))
    assert reason(GpuMemory(3 * GIB // 2, 0, 0, 8 * GIB)) == "out of GPU memory: it held up to 1.5 GiB of 8.0"


def test_room_is_what_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local, "LocalTrial", Ready)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    Ready.running, Ready.most = [], 0
    launcher = local.Local(4)
    job = Job(study(), 0, RECIPE, tmp_path, 1)
    running: list[Ready] = []
    while launcher.room(running, job.study) > 0:
        running.append(launcher.start(job, print))
    assert [trial.seat.gpu for trial in running] == [0, 1]
    for trial in running:
        trial.seat.heard(GpuMemory(GIB, GIB, 37 * GIB, 40 * GIB), trained=True)
    while launcher.room(running, job.study) > 0:
        running.append(launcher.start(job, print))
    assert sorted(trial.seat.gpu for trial in running) == [0, 0, 1, 1]
    for trial in running:
        trial.stop()
