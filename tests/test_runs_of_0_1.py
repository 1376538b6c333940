"""A runs folder as version 0.1 left it still opens, and its study goes on."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from searcher.config import catalog
from searcher.config.study import StudyFile
from searcher.execution.messages import Done, Job
from searcher.searching.loop import search
from searcher.searching.storage import studies
from searcher.ui.terminal.search import PlainView
from tests.conftest import Run
from tests.helpers.launcher import FakeLauncher, Pretended

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


class AtOnce(FakeLauncher):
    """A launcher whose trials have their figures at once."""

    workers = 1

    def start(self, job: Job, remember: Any) -> Pretended:
        started = super().start(job, remember)
        started.says = [Done({metric.key: 0.5 for metric in job.study.measured()}, 1.0)]
        return started

    def attach(self, job: Job, told: dict[str, Any]) -> None:
        raise AssertionError("none was running")


def test_its_study_goes_on_with_a_larger_budget(runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(runs.parent)
    study, launcher = StudyFile("micronet", ["budget.trials=22"]).study("digits"), AtOnce()
    state = search(study, Path("runs"), launcher, PlainView(Console(file=io.StringIO())))
    assert len(launcher.started) == 2
    assert not any(trial.went_on for trial in launcher.started)
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
