import json
from pathlib import Path

import optuna
import pytest

from searcher.errors import SearcherError
from searcher.searching.storage import backends
from tests.conftest import Run


def test_the_first_choice_stays(tmp_path: Path):
    backends.choose(tmp_path, "journal")
    backends.choose(tmp_path, None)
    backends.choose(tmp_path, "journal")
    with pytest.raises(SearcherError, match="keeps its trials in journal; take another --runs-dir"):
        backends.choose(tmp_path, "sqlite")


def test_a_local_disk_gets_sqlite(tmp_path: Path):
    assert backends.file_system(Path("/proc")) == "proc"
    assert backends.file_system(tmp_path) not in backends.NETWORK
    backends.choose(tmp_path, None)
    assert (tmp_path / "storage.txt").read_text() == "sqlite\n"
    assert not backends.is_stored(tmp_path)


def test_a_data_base_of_an_earlier_version_is_sqlite(tmp_path: Path):
    (tmp_path / "optuna.db").touch()
    assert backends.is_stored(tmp_path)
    with pytest.raises(SearcherError, match="keeps its trials in sqlite"):
        backends.choose(tmp_path, "journal")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("journals", "did you mean journal?"), ("mysql://host/x", "expected sqlite, journal or a URL")],
)
def test_an_unknown_storage_is_refused(tmp_path: Path, asked: str, expected: str):
    with pytest.raises(SearcherError, match=expected.replace("?", r"\?")):
        backends.choose(tmp_path, asked)


def journal(runs: Path) -> optuna.Study:
    return optuna.create_study(storage=backends.open_storage(runs), study_name="s", load_if_exists=True)


@pytest.mark.parametrize("torn", ['{"op_code": 4, "worker', "{", "\x00\x00\x00"])
def test_a_line_that_a_crash_has_torn_is_cut_off(tmp_path: Path, torn: str):
    backends.choose(tmp_path, "journal")
    study = journal(tmp_path)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    path = tmp_path / "optuna.journal"
    whole = path.read_bytes()
    with path.open("a") as file:
        file.write(torn)
    # Also by whoever had opened the file before.
    assert len(optuna.load_study(study_name="s", storage=backends.open_storage(tmp_path)).trials) == 1
    study.add_trial(optuna.trial.create_trial(value=2.0))
    assert path.read_bytes().startswith(whole)
    assert [t.value for t in journal(tmp_path).trials] == [1.0, 2.0]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_lock_that_a_killed_writer_has_left_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/optuna.journal").write_text('{"torn')
    Path("runs/optuna.journal.lock").touch()
    lock = backends._Lock(Path("runs/optuna.journal"))
    lock.grace_period = 1
    assert lock.acquire()
    lock.release()
    assert Path("runs/optuna.journal").read_text() == ""


def test_a_journal_that_only_may_be_read_is_left_alone(tmp_path: Path):
    backends.choose(tmp_path, "journal")
    journal(tmp_path).add_trial(optuna.trial.create_trial(value=1.0))
    before = (tmp_path / "optuna.journal").read_bytes()
    assert len(optuna.load_study(study_name="s", storage=backends.open_storage(tmp_path)).trials) == 1
    assert (tmp_path / "optuna.journal").read_bytes() == before


def test_a_study_in_a_journal(place: Path, run_command: Run):
    asked = ["run", "--study", "tiny", "--set", "budget.epochs=1"]
    result = run_command(*asked, "--storage", "journal", "--set", "budget.trials=1")
    assert result.returncode == 0, result.stdout + result.stderr
    with (place / "runs" / "optuna.journal").open("a") as file:
        file.write('{"op_code": 5, "tri')
    result = run_command(*asked, "--set", "budget.trials=2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 complete" in result.stdout
    assert "top1" in run_command("show", "tiny").stdout


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
@pytest.mark.parametrize(
    "name", ["a?b", "a%20b", "100%", "a#b", "two words", "it's", 'a"b', "{x}", "é ü 中", "a?mode=memory&x=1"]
)
def test_a_storage_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, name: str, kind: str):
    runs, other = tmp_path / name, tmp_path / "a"
    for folder in (runs, other):
        backends.make_runs(folder)
        backends.choose(folder, kind)
        optuna.create_study(storage=backends.open_storage(folder), study_name=folder.name)
    file = "optuna.db" if kind == "sqlite" else "optuna.journal"
    for folder in (runs, other):
        assert (folder / file).stat().st_size > 0
        (found,) = backends.open_storage(folder).get_all_studies()
        assert found.study_name == folder.name
    assert {path.name for path in tmp_path.iterdir()} == {name, "a"}
