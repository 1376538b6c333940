"""Jobs of this machine: how many run at a time, what is heard of them, what ends with them."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from searcher.config.recipe import Model, Recipe, Train
from searcher.execution import local
from searcher.execution.messages import Done, Job, Progress
from tests.helpers.studies import study

RECIPE = Recipe(model=Model(name="densenet", args={}), stages=(Train(),))
HALF_WAY = Progress("train", 1, 2, 0.5)


class Ready:
    """A trial that says a word of its progress, then that it is done."""

    running: list["Ready"]
    most = 0

    def __init__(self, job: Job) -> None:
        assert job.folder.is_dir()
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
