"""Wrong input in all its kinds: one message and exit status 2, in one process."""

from pathlib import Path

import pytest

from tests.conftest import Ran, Run
from tests.helpers.studies import store, study

LONG = "9" * 5000


def refused(ran: Ran, expected: str) -> None:
    assert ran.status == 2, ran
    assert ran.err.startswith("error: ")
    assert expected in ran.err
    assert len(ran.err) < 1000


@pytest.fixture
def told(place: Path) -> Path:
    """A user's folder with a stored study, `told@digits`."""
    store(place / "runs", study(), [(0.6, 1.0), (0.7, 2.0)])
    return place


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("seed=4294967296", "seed: input should be less than or equal to 4294967295, got 4294967296"),
        ("seed=99999999999999999999", "seed: input should be less than or equal to 4294967295"),
        (f"seed={LONG}", "--set seed: Exceeds the limit"),
        (f"budget.trials={LONG}", "--set budget.trials: Exceeds the limit"),
        ("sampler.prefix_reuse=inf", "sampler.prefix_reuse: input should be "),
        ("sampler.prefix_reuse=nan", "sampler.prefix_reuse: input should be "),
        ("cluster.poll=inf", "cluster.poll: input should be a finite number"),
        ("constraints=[{metric='top1',at_least=nan}]", "input should be a finite number"),
        (f"sampler.options={'[' * 5000}", "--set sampler.options: "),
    ],
)
def test_a_number_that_is_none(run_command: Run, change: str, expected: str):
    refused(run_command("check", "tiny", "--set", change), expected)


RECIPE = """
[recipe]
model = { name = "densenet", args = { growth_rate = 4, blocks = [1, 1, 1, 1] } }
stages = [{ kind = "train", lr = LR }]
"""


@pytest.mark.parametrize(
    ("lr", "expected"),
    [
        ("inf", "lr: input should be a finite number"),
        ("nan", "lr: input should be "),
        (LONG, "r.toml: not TOML: a number: Exceeds the limit"),
        ("[" * 5000, "r.toml: not TOML: "),
    ],
)
def test_a_recipe_with_a_number_that_is_none(run_command: Run, place: Path, lr: str, expected: str):
    (place / "r.toml").write_text(RECIPE.replace("LR", lr))
    refused(run_command("cost", "r.toml"), expected)
    refused(run_command("retrain", "r.toml"), "lr" if "lr" in expected else expected)
    assert not (place / "r").exists()


def test_a_byte_order_mark_is_no_part_of_a_file(run_command: Run, place: Path):
    for name in ("studies/tiny.toml", "r.toml"):
        path = place / name
        text = path.read_text() if path.exists() else RECIPE.replace("LR", "0.1")
        path.write_text(text, encoding="utf-8-sig")
    assert run_command("check", "tiny").status == 0
    assert run_command("cost", "r.toml").status == 0


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["export", "--study", "told", "--pick", "top1>=nan"], "'nan' is no bound, expected a finite number"),
        (["export", "--study", "told", "--pick", "top1>=inf"], "'inf' is no bound, expected a finite number"),
        (["export", "--study", "told", "--pick", LONG], "is not complete; complete: 0, 1"),
        (["store", "gc", "--max-size", f"{LONG}GB"], "expected a number and one of"),
        (["store", "gc", "--max-size", "nanGB"], "expected a number and one of"),
        (["cost", f"told#{LONG}"], "no trial"),
        (["cost", "densenet", "--input", f"1,3,{LONG},32"], "expected a batch of one"),
        (["sweep", "tiny", "--stage", "train.lr=inf,1"], "inf is no finite number"),
        (["sweep", "tiny", "--stage", f"train.lr=0,1,...,{LONG}"], "is no finite number"),
        (["sweep", "tiny", "--stage", "train.lr=0,1,...,1e12"], "more than 1,000 values"),
        (["run", "--study", "tiny", "--cluster", "debug", "--time", LONG], "--set cluster.time="),
    ],
)
def test_a_choice_that_is_none(run_command: Run, told: Path, args: list[str], expected: str):
    refused(run_command(*args), expected)


@pytest.mark.parametrize(
    "args",
    [
        ["ls"],
        ["status"],
        ["show", "tiny"],
        ["cancel", "--all"],
        ["export", "--study", "tiny"],
        ["verify", "--study", "tiny"],
        ["report", "tiny"],
        ["run", "--study", "tiny"],
        ["cost", "tiny#0"],
        ["dashboard"],
    ],
)
def test_a_runs_folder_that_is_a_file(run_command: Run, place: Path, args: list[str]):
    (place / "file").write_text("mine")
    refused(run_command(*args, "--runs-dir", "file"), "the runs folder file")
    assert (place / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "blocked", "expected"),
    [
        (["cancel", "told"], "runs/told@digits/driver.lock", "driver.lock: Is a directory"),
        (["report", "told"], "runs/told@digits/report.html", "report.html cannot be written"),
        (["export", "--study", "told", "-o", "here.toml"], "here.toml", "here.toml cannot be written"),
        (["show", "told", "--csv", "here.csv"], "here.csv", "here.csv cannot be written"),
        (["store", "gc", "--max-size", "1B"], "runs/store/0123abcd.lock", "0123abcd.lock: Is a directory"),
    ],
)
def test_a_folder_in_the_place_of_a_file(
    run_command: Run, told: Path, args: list[str], blocked: str, expected: str
):
    (told / blocked).mkdir(parents=True)
    entry = told / "runs" / "store" / "0123abcd"
    entry.mkdir(parents=True)
    (entry / "model.safetensors").write_bytes(b"12345")
    refused(run_command(*args), expected)


@pytest.mark.parametrize(
    ("args", "blocked", "expected"),
    [
        (["verify", "--study", "told", "--seeds", "1"], "runs/told@digits/verify", "Not a directory"),
        (["run", "--study", "tiny"], "runs/tiny@digits", "tiny@digits"),
        (["retrain", "r.toml", "-o", "here"], "here", "here"),
        (["export", "--study", "told", "-o", "here/r.toml"], "here", "here/r.toml cannot be written"),
    ],
)
def test_a_file_in_the_place_of_a_folder(
    run_command: Run, told: Path, args: list[str], blocked: str, expected: str
):
    assert run_command("export", "--study", "told", "-o", "r.toml").status == 0
    (told / blocked).write_text("mine")
    refused(run_command(*args), expected)
    assert (told / blocked).read_text() == "mine"
