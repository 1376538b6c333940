"""Studies on a user's own data: names, identity, the whole way to a deployed file."""

from pathlib import Path

import pytest
from PIL import Image

from searcher import tasks
from searcher.config.data import Data, is_function, is_path, short
from searcher.config.study import Study, StudyFile
from searcher.errors import SearcherError
from tests.conftest import TINY_STUDY, Run, Searcher
from tests.helpers.folders import class_folders, digits
from tests.helpers.studies import study


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("./photos", "photos"),
        ("photos/", "photos"),
        ("/data/my photos", "my-photos"),
        ("../a/../photos.v2", "photos.v2"),
        ("labels.csv", "labels"),
        ("a/SET.NPZ", "SET"),
        ("~/x@y#1", "x-y-1"),
    ],
)
def test_paths(task: str, name: str):
    assert is_path(task)
    assert not is_function(task)
    assert short(task) == name


def test_the_current_folder_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert short(".") == "here"
    assert short("./..") == tmp_path.name


def test_functions_and_names():
    assert is_function("my_pkg.data:make")
    assert not is_path("my_pkg.data:make")
    assert short("my_pkg.data:make") == "my_pkg.data-make"
    for name in tasks.TASKS:
        assert not is_path(name)
        assert not is_function(name)
        assert short(name) == name


def test_a_folder_is_meant_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SearcherError, match=r"the data of that path is task \./photos"):
        tasks.entry("photos")


def test_the_stored_name_carries_the_last_part():
    assert study(task="./some/photos").stored_name == "told@photos"


def test_the_table_is_merged_and_set(tmp_path: Path):
    text = TINY_STUDY.replace('task = "digits"', 'task = ["./a", "./b"]')
    tables = '[data]\nsize = 8\n[when."./b".data]\nsize = [4, 6]\n'
    (tmp_path / "own.toml").write_text(text + tables)
    file = StudyFile(str(tmp_path / "own.toml"), ["data.seed=3", "data.augment.flip=false"])
    first, second = file.study("./a").data, file.study("./b").data
    assert first is not None
    assert second is not None
    assert (first.size, second.size) == (8, (4, 6))
    assert (first.seed, first.augment.flip) == (3, False)
    kept = Study.model_validate_json(file.study("./b").model_dump_json())
    assert kept.data == second


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"sise": 8}, "no such key"),
        ({"size": 0}, "greater than or equal to 1"),
        ({"channels": 2}, "1 or 3"),
        ({"validation": 0.6, "test": 0.5}, "leave nothing to train on"),
        ({"classes": ["a", "a"]}, "a name is there twice"),
        ({"std": [0.0]}, "greater than 0"),
        ({"mean": [0.5], "std": [0.5, 0.5]}, "one number a channel"),
    ],
)
def test_bad_tables(tmp_path: Path, data, said):
    lines = "\n".join(f"{key} = {value}" for key, value in data.items()).replace("'", '"')
    (tmp_path / "own.toml").write_text(f'extends = "micronet"\ntask = "./a"\n[data]\n{lines}\n')
    with pytest.raises(SearcherError, match=said):
        StudyFile(str(tmp_path / "own.toml"))


HERE = "tests.data.own_data"


def test_a_function_that_makes_a_task():
    entry = tasks.entry(f"{HERE}:make")
    assert entry.load().fingerprint == tasks.entry("digits").load().fingerprint
    assert (entry.image, entry.classes) == ((1, 8, 8), 10)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "raises ValueError: no such server"),
        ("ends", "raises SystemExit: 3"),
        ("needs", r"needs arguments \(folder\)"),
        ("returns_no_task", "returns a str, expected a searcher.tasks.base.Task"),
        ("no_function", "no function in tests.data.own_data named 'no_function'"),
        ("mak", "did you mean make?"),
    ],
)
def test_bad_functions(name: str, said: str):
    with pytest.raises(SearcherError, match=said):
        tasks.entry(f"{HERE}:{name}")
    with pytest.raises(SearcherError, match=r"cannot import 'tests\.data\.other'"):
        tasks.entry("tests.data.other:make")


def test_a_function_prepares_its_data_itself():
    with pytest.raises(SearcherError, match="is a function, which prepares its data itself"):
        tasks.entry(f"{HERE}:make", Data(size=8))


def test_check_says_what_is_there_and_draws_it(place: Path, run_command: Run):
    digits(place / "photos", 300)
    (place / "photos" / "3" / "broken.png").write_bytes(b"no image")
    ran = run_command("check", "tiny", "--set", "task=./photos", "--set", "data.augment.shift=2")
    assert ran.status == 0, ran.err
    for said in (
        "class folders in photos",
        "of 10 classes: 0 31, 1 30",
        "15% validation drawn class by class, seed 0",
        "size 8×8, their own, 1 channel",
        "left out or changed: 1 × image that cannot be read",
        "training images after augmentation: runs/tiny@photos/data.png",
    ):
        assert said in ran.out, ran.out
    with Image.open(place / "runs" / "tiny@photos" / "data.png") as drawn:
        assert drawn.size == (680, 572)
        assert len(drawn.getcolors(10**6) or []) > 10


def test_bad_data_is_one_message(place: Path, run_command: Run):
    class_folders(place / "photos", {"cat": 4, "dog": 0})
    for command in ("check", "run"):
        ran = run_command(command, "tiny", "--set", "task=./photos")
        assert ran.status == 2
        assert ran.err == "error: photos: class 'dog' has no images\n"
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_from_a_folder_to_a_deployed_file(place: Path, searcher: Searcher):
    digits(place / "photos", 400)
    own = ["--set", "task=./photos", "--set", "budget.trials=2", "--set", "data.seed=1"]

    def run(*args: str) -> str:
        ran = searcher(*args)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    run("run", "tiny", *own, "--workers", "1")
    run("report", "tiny@photos", "-o", "page.html")
    page = (place / "page.html").read_text()
    assert "The data" in page
    assert "400 images of 10 classes" in page
    assert '<img class="picture" src="data:image/png;base64,' in page
    run("export", "tiny@photos", "-o", "best.toml")
    assert "seed = 1" in (place / "best.toml").read_text()
    run("retrain", "best.toml")
    assert (place / "best" / "model.onnx").is_file()
    run("cost", "tiny@photos#0")
    # Another folder of the same name is not taken for this one.
    (place / "other").mkdir()
    digits(place / "other" / "photos", 380)
    ran = searcher("run", "tiny", *own[2:], "--set", "task=other/photos", "--workers", "1")
    assert ran.returncode == 2
    assert "data fingerprint: stored" in ran.stderr
