"""The launcher of a cluster on a backend and a clock that are made up: no processes, no waiting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from searcher.config.cluster import Cluster
from searcher.config.recipe import Model, Recipe, Train
from searcher.config.study import StudyFile
from searcher.errors import SearcherError
from searcher.execution.cluster.base import End, Function, Jobs, Unreachable
from searcher.execution.cluster.engines import ENGINES, backend
from searcher.execution.cluster.launcher import ClusterLauncher
from searcher.execution.cluster.mailbox import Files
from searcher.execution.cluster.trial import ClusterTrial
from searcher.execution.messages import Failed, Job, Killed, Outcome

STUDY = StudyFile("micronet").study("digits")
RECIPE = Recipe(model=Model(name="densenet", args={}), stages=(Train(),))
POLL = 15.0


class FakeJobs(Jobs):
    """Runs nothing."""

    made: ClassVar[list["FakeJobs"]] = []

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.folders: dict[str, list[str]] = {}
        self.ends: dict[str, End] = {}
        self.questions: list[Sequence[str]] = []
        self.attempts: list[str] = []
        self.cancelled: list[str] = []
        self.down = self.cut_off = self.refuses = False
        self.made.append(self)

    def submit(
        self, cluster: Cluster, folder: Path, name: str, tasks: int, function: Function, *args: Any
    ) -> str:
        self.attempts.append(name)
        self._answer()
        if self.refuses:
            raise SearcherError("no such partition")
        job_id = self.names[name] = str(len(self.names) + 1)
        (self.folders[job_id],) = args
        assert len(self.folders[job_id]) == tasks
        if self.cut_off:
            raise Unreachable("timed out")
        return job_id

    def named(self, folder: Path, name: str) -> str | None:
        self._answer()
        return self.names.get(name)

    def ended(self, ids: Sequence[str]) -> tuple[dict[str, End], str]:
        self._answer()
        self.questions.append(ids)
        return {i: self.ends[i] for i in ids if i in self.ends}, ""

    def cancel(self, ids: Sequence[str]) -> None:
        self._answer()
        self.cancelled += ids

    def _answer(self) -> None:
        if self.down:
            raise Unreachable("no answer")

    @staticmethod
    def rank() -> int:
        return 0

    def grace_s(self, end: End) -> float:
        return 120.0 if end.well else 5.0


class Driver:
    """A launcher, what it said and what was written down, at a time that is set."""

    def __init__(self, runs: Path) -> None:
        self.runs, self.time = runs, 1000.0
        self.said: list[str] = []
        self.told: dict[int, dict[str, Any]] = {}
        self.launcher = ClusterLauncher("fake", 2, POLL, self.said.append, now=lambda: self.time)
        self.jobs = FakeJobs.made[-1]

    def job(self, number: int, **cluster: Any) -> Job:
        study = STUDY.model_copy(update={"cluster": Cluster(**cluster)})
        folder = self.runs / str(number)
        folder.mkdir(exist_ok=True)
        return Job(study, number, RECIPE, folder, 1)

    def start(self, number: int = 0, **cluster: Any) -> ClusterTrial:
        return self.launcher.start(
            self.job(number, **cluster), lambda told: self.told.__setitem__(number, told)
        )


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setitem(ENGINES, "fake", f"{__name__}:FakeJobs")
    return Driver(tmp_path)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_is_a_backend(engine: str):
    assert issubclass(backend(engine), Jobs)


def test_an_unknown_engine_is_bad_input():
    with pytest.raises(SearcherError, match="no cluster named 'slurmm'"):
        backend("slurmm")


def test_a_submission_without_an_answer_is_tried_again_under_its_name(driver: Driver):
    trial = driver.start()
    driver.jobs.down = True
    driver.launcher.submit()
    driver.launcher.submit()  # not before the interval is over
    assert len(driver.jobs.attempts) == 1
    assert trial.id == ""
    assert "id" not in driver.told[0]
    driver.time += POLL
    driver.launcher.submit()
    assert len(driver.said) == 1
    driver.jobs.down = False
    driver.time += POLL
    driver.launcher.submit()
    assert trial.id == driver.told[0]["id"] == "1"
    assert set(driver.jobs.attempts) == {driver.told[0]["name"]}
    assert driver.jobs.folders == {"1": [str(trial.folder)]}
    # It is said again when it happens again.
    driver.start(1)
    driver.jobs.down = True
    driver.launcher.submit()
    assert driver.said == ["no answer; jobs are submitted when it answers again"] * 2


def test_a_submission_that_came_through_all_the_same_is_not_submitted_again(driver: Driver):
    trial = driver.start()
    driver.jobs.cut_off = True
    driver.launcher.submit()
    assert trial.id == ""
    driver.time += POLL
    driver.launcher.submit()
    assert trial.id == "1"
    assert len(driver.jobs.attempts) == 1


def test_a_submission_that_is_refused_is_bad_input(driver: Driver):
    driver.start()
    driver.jobs.refuses = True
    with pytest.raises(SearcherError, match="no such partition"):
        driver.launcher.submit()


@pytest.mark.parametrize(("end", "grace_s"), [(End("gone"), 5.0), (End("over", well=True), 120.0)])
def test_a_job_that_ends_without_a_result_is_heard_for_a_while(driver: Driver, end: End, grace_s: float):
    trial = driver.start()
    driver.launcher.submit()
    assert trial.events() == []
    driver.jobs.ends["1"] = end
    driver.time += POLL + 0.25
    assert trial.events() == []
    driver.time += grace_s - 0.25
    assert trial.events() == []
    driver.time += 0.25
    assert trial.events() == [Killed(end.reason)]
    assert Files(trial.folder).asked_to_stop
    assert trial.events() == []
    trial.stop()
    assert driver.jobs.cancelled == []
    assert driver.launcher.room([], trial.job.study) == 2


def test_what_comes_in_the_meantime_counts(driver: Driver):
    trial = driver.start()
    driver.launcher.submit()
    driver.jobs.ends["1"] = End("gone")
    assert trial.events() == []
    driver.time += 4.0
    Files(trial.folder).send(Failed("no"))
    assert trial.events() == [Failed("no")]


@pytest.mark.parametrize(
    ("trials_per_gpu", "expected"),
    [
        (2, Killed("out of GPU memory, beside 1 more")),
        (1, Failed("out of GPU memory", out_of_memory=True)),
        (None, Failed("out of GPU memory", out_of_memory=True)),
    ],
)
def test_a_trial_without_gpu_memory_is_tried_again_where_others_share_it(
    driver: Driver, trials_per_gpu: int | None, expected: Outcome
):
    trial = driver.start(trials_per_gpu=trials_per_gpu)
    driver.launcher.submit()
    Files(trial.folder).send(Failed("out of GPU memory", out_of_memory=True))
    assert trial.events() == [expected]
    assert trial.events() == []


def test_jobs_are_asked_about_at_an_interval_and_silence_is_said_once(driver: Driver):
    trial = driver.start()
    driver.launcher.submit()
    for _ in range(3):
        trial.events()
    assert driver.jobs.questions == [["1"]]
    driver.jobs.down = True
    for _ in range(3):
        driver.time += POLL + 0.25
        assert trial.events() == []
    assert len(driver.said) == 1
    driver.jobs.down = False
    trial.stop()  # told by its file: the cluster did not answer when it was last asked
    assert driver.jobs.cancelled == []
    assert Files(trial.folder).asked_to_stop


def test_a_job_is_found_again_by_its_name(driver: Driver):
    driver.start()
    driver.jobs.cut_off = True
    driver.launcher.submit()  # and the driver dies here
    another = Driver(driver.runs)
    another.jobs.names = driver.jobs.names
    found = another.launcher.attach(driver.job(0), driver.told[0])
    assert found is not None
    assert found.id == "1"
    assert another.launcher.room([], found.job.study) == 1
    another.jobs.ends["1"] = End("gone", counts=False)
    found.events()
    another.time += 5.0
    assert found.events() == [Killed("gone", counts=False)]


def test_a_job_that_was_never_submitted_does_not_begin_late(driver: Driver):
    trial = driver.start()
    driver.jobs.down = True
    driver.launcher.submit()
    with pytest.raises(SearcherError, match="nothing is known of the jobs of micronet"):
        driver.launcher.attach(trial.job, driver.told[0])
    driver.jobs.down = False
    assert driver.launcher.attach(trial.job, driver.told[0]) is None
    assert Files(trial.folder).asked_to_stop


def test_jobs_of_another_engine_are_refused(driver: Driver):
    with pytest.raises(SearcherError, match="go on with --cluster slurm, or end them"):
        driver.launcher.attach(driver.job(0), {"engine": "slurm", "host": "node1", "id": "7"})


def test_trials_share_a_job_which_is_cancelled_with_the_last(driver: Driver):
    trials = [driver.start(number, trials_per_gpu=2) for number in range(3)]
    study = trials[0].job.study
    assert driver.launcher.room([], study) == 1
    driver.launcher.submit()
    assert [trial.id for trial in trials] == ["1", "1", "2"]
    assert driver.launcher.room([], study) == 0
    trials[0].stop()
    assert driver.jobs.cancelled == []
    assert driver.launcher.room([], study) == 0
    trials[1].stop()
    assert driver.jobs.cancelled == ["1"]
    assert driver.launcher.room([], study) == 2


def test_what_waits_is_withdrawn(driver: Driver):
    driver.start().stop()
    driver.launcher.submit()
    assert driver.jobs.attempts == []
