import os
import subprocess
import sys
from pathlib import Path

import pytest

from searcher.config.study import StudyFile
from searcher.errors import SearcherError
from searcher.searching.storage import backends, driver_lock, studies

OPEN = (
    "import sys, pathlib, searcher.searching.storage.backends as s; s.open_storage(pathlib.Path(sys.argv[1]))"
)


@pytest.mark.slow
def test_many_may_open_a_new_storage_at_once(tmp_path: Path):
    backends.make_runs(tmp_path)
    opening = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in opening] == [""] * 4


def store(runs: Path, task: str, used: float) -> None:
    study = StudyFile("micronet").study(task)
    studies.create_or_load(runs, study, {"task": task})
    with driver_lock.one_driver(runs / study.stored_name):
        pass
    os.utime(runs / study.stored_name / "driver.lock", (used, used))


def test_the_name_without_a_task_means_the_study_that_ran_last(tmp_path: Path):
    backends.make_runs(tmp_path)
    with pytest.raises(SearcherError, match="nothing is stored in"):
        studies.resolve(tmp_path, "micronet")
    store(tmp_path, "digits", used=1000)
    assert studies.resolve(tmp_path, "micronet") == ("micronet@digits", "")
    store(tmp_path, "cifar10", used=2000)
    name, line = studies.resolve(tmp_path, "micronet")
    assert name == "micronet@cifar10"
    assert "also stored: micronet@digits" in line
    assert studies.resolve(tmp_path, "micronet@digits") == ("micronet@digits", "")


def test_one_driver_holds_the_lock_until_it_ends(tmp_path: Path):
    with (
        driver_lock.one_driver(tmp_path / "s@t"),
        pytest.raises(SearcherError, match=r"another driver runs this study: .* pid \d+"),
        driver_lock.one_driver(tmp_path / "s@t"),
    ):
        pass
    with driver_lock.one_driver(tmp_path / "s@t"):
        pass
