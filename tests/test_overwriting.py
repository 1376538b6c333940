"""Nothing that a user has written is written over, `--force` apart."""

import json
from pathlib import Path

import pytest

from searcher.config import recipe_file
from searcher.deploy import folder, package
from searcher.errors import SearcherError
from tests.conftest import Run
from tests.helpers.studies import store, study


@pytest.fixture
def told(place: Path) -> Path:
    """A user's folder with a stored study and a recipe file of it."""
    store(place / "runs", study(), [(0.6, 1.0), (0.7, 2.0)])
    return place


COMMANDS = [
    (["export", "--study", "told", "-o"], "a recipe file"),
    (["show", "told", "--csv"], "such a table"),
    (["cost", "densenet", "--csv"], "such a table"),
    (["report", "told", "-o"], "a page of a study"),
]


@pytest.mark.parametrize(("args", "kind"), COMMANDS)
def test_a_file_of_the_users_is_refused_and_kept(run_command: Run, told: Path, args: list[str], kind: str):
    for text in ("my notes\n", "[notes]\na = 1\n", "trial;state\n1;2\n", "<!doctype html>\n<p>mine"):
        (told / "mine").write_text(text)
        ran = run_command(*args, "mine")
        assert ran.status == 2
        assert ran.err == f"error: mine is there already and is not {kind}: take another path, or --force\n"
        assert (told / "mine").read_text() == text
    assert run_command(*args, "mine", "--force").status == 0
    assert (told / "mine").read_text() != text


@pytest.mark.parametrize(("args", "kind"), COMMANDS)
def test_a_file_of_the_same_kind_is_written_anew(run_command: Run, told: Path, args: list[str], kind: str):
    assert run_command(*args, "ours").status == 0
    first = (told / "ours").read_text()
    assert run_command(*args, "ours").status == 0
    assert (told / "ours").read_text() == first
    (told / "empty").touch()
    assert run_command(*args, "empty").status == 0


@pytest.mark.parametrize(
    "names",
    [
        ["README.md"],
        ["model.onnx"],
        ["metrics.json"],
        ["notes.txt"],
        ["recipe.toml"],
        ["recipe.toml", "checkpoints/mine.pt"],
        ["checkpoints/mine.pt"],
        ["metrics.json", "recipe.toml", "README.md"],
    ],
)
def test_a_folder_of_the_users_is_refused_and_kept(run_command: Run, told: Path, names: list[str]):
    assert run_command("export", "--study", "told", "-o", "best.toml").status == 0
    for name in names:
        (told / "best" / name).parent.mkdir(parents=True, exist_ok=True)
        (told / "best" / name).write_text("mine = 1\n")
    ran = run_command("retrain", "best.toml")
    assert ran.status == 2
    assert ran.err.startswith("error: best is no folder of a retraining and has files of its own (")
    assert {
        p.relative_to(told / "best").as_posix() for p in (told / "best").rglob("*") if p.is_file()
    } == set(names)
    assert all((told / "best" / name).read_text() == "mine = 1\n" for name in names)


def test_a_readme_beside_the_recipe_file_is_kept(run_command: Run, told: Path):
    (told / "net").mkdir()
    assert run_command("export", "--study", "told", "-o", "net/recipe.toml").status == 0
    folder.refuse_foreign(told / "net")
    (told / "net" / "README.md").write_text("mine")
    with pytest.raises(SearcherError, match=r"files of its own \(README.md, recipe.toml\)"):
        folder.refuse_foreign(told / "net")


def test_folders_of_retrainings_are_taken(run_command: Run, told: Path):
    ours = told / "ours"
    (ours / "checkpoints" / "state").mkdir(parents=True)
    assert run_command("export", "--study", "told", "-o", "ours/recipe.toml").status == 0
    (ours / "README.md").touch()
    folder.refuse_foreign(ours)  # one that was cut off
    (ours / "checkpoints" / "state").rmdir()
    (ours / "checkpoints").rmdir()
    (ours / "metrics.json").write_text(json.dumps({"result": {}, "onnx": {}, "bytes": {}}))
    folder.refuse_foreign(ours)  # one of another version that was finished
    folder.refuse_foreign(told / "absent")


def test_a_refused_retraining_leaves_no_folder(run_command: Run, told: Path):
    assert run_command("export", "--study", "told", "-o", "best.toml").status == 0
    ran = run_command("retrain", "best.toml")
    assert ran.status == 2
    assert "the data of task digits differs from that of the search" in ran.err
    assert not (told / "best").exists()
    file = recipe_file.load(told / "best.toml")
    assert package.METRICS == folder.METRICS
    assert file.provenance.task == "digits"


def test_a_sweep_is_refused_before_it_trains(run_command: Run, told: Path):
    (told / "mine").write_text("my notes\n")
    ran = run_command("sweep", "tiny", "--stage", "train.lr=0.1,0.2", "--csv", "mine")
    assert ran.status == 2
    assert "mine is there already" in ran.err
    assert not (told / "runs" / "sweeps").exists()
