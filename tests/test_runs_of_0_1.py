"""A runs folder as version 0.1 left it still opens, and its study goes on."""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from searcher.config import catalog
from searcher.config.recipe import Recipe
from searcher.config.study import Study, StudyFile
from searcher.execution.launcher import Remember, RunningTrial
from searcher.execution.messages import Done, Job, Outcome, Progress
from searcher.search.loop import search
from searcher.search.storage import studies
from searcher.ui.terminal.search import PlainView
from tests.conftest import Run

FILES = ("storage.txt", "optuna.db")
TRIALS = ("trial-00000", "trial-00003", "trial-00005")


@pytest.fixture
def runs(real_data: Path, place: Path) -> Path:
    """A copy of its storage, and of a few of its trials' folders."""
    old, runs = real_data / "runs-0.1", place / "runs"
    if not old.is_dir():
        pytest.skip("SEARCHER_DATA has no runs-0.1")
    study = runs / "micronet@digits"
    study.mkdir(parents=True)
    for name in FILES:
        shutil.copy(old / name, runs / name)
    for name in TRIALS:
        shutil.copytree(old / study.name / name, study / name)
    return runs


def test_it_is_shown_reported_and_exported(runs: Path, run_command: Run):
    shown = run_command("show", "micronet")
    assert shown.status == 0, shown.err
    assert "micronet@digits, front" in shown.out
    listed = run_command("status")
    assert "20/20" in listed.out
    report = run_command("report", "micronet", "-o", "page.html")
    assert report.status == 0, report.err
    assert "densenet" in (runs.parent / "page.html").read_text()
    exported = run_command("export", "--study", "micronet", "--pick", "knee", "-o", "knee.toml")
    assert exported.status == 0, exported.err
    assert "fingerprint" in (runs.parent / "knee.toml").read_text()


class Told:
    """A trial that has its figures at once."""

    begun = True

    def __init__(self, job: Job) -> None:
        self.job = job

    def events(self) -> list[Progress | Outcome]:
        return [Done({metric.key: 0.5 for metric in self.job.study.measured()}, 1.0)]

    def go_on(self, rung: int) -> None:
        raise AssertionError("it trains nothing")

    def stop(self) -> None:
        pass


class AtOnce:
    """A launcher that trains nothing."""

    outlive, workers = False, 1

    def __init__(self) -> None:
        self.recipes: list[Recipe] = []

    def prepare(self) -> None:
        pass

    def threads(self, study: Study) -> int:
        return 1

    def room(self, running: Sequence[RunningTrial], study: Study) -> int:
        return 1 - len(running)

    def start(self, job: Job, remember: Remember) -> Told:
        self.recipes.append(job.recipe)
        return Told(job)

    def submit(self) -> None:
        pass

    def attach(self, job: Job, told: dict[str, Any]) -> None:
        raise AssertionError("none was running")

    def wait(self, running: Sequence[RunningTrial], seconds: float) -> None:
        pass


def test_its_study_goes_on_with_a_larger_budget(runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(runs.parent)
    study, launcher = StudyFile("micronet", ["budget.trials=22"]).study("digits"), AtOnce()
    state = search(study, Path("runs"), launcher, PlainView(Console(file=io.StringIO())))
    assert len(launcher.recipes) == 2
    assert state.finished == 22
    numbers = [t.number for t in studies.load(Path("runs"), "micronet@digits")[0].get_trials(deepcopy=False)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 22


def test_a_space_that_was_changed_since_is_refused(runs: Path, run_command: Run):
    text = catalog.find("spaces", "micronet").read_text()
    (runs.parent / "spaces" / "micronet.py").write_text(text.replace("0.95", "0.97") + "\nCHANGED = True\n")
    refused = run_command("run", "--study", "micronet", "--set", "budget.trials=21")
    assert refused.status == 2
    assert "space code" in refused.err
