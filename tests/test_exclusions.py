"""A search that begins with the blocks that bear int8 worst kept out of it."""

from pathlib import Path

import pytest
import torch

from searcher.compression.pipeline import run_recipe
from searcher.searching.exclusions import worst_first
from searcher.searching.records import TrialRecord
from searcher.searching.storage.studies import load
from tests.conftest import Run
from tests.test_sensitivity import NET, RECIPE, trained  # noqa: F401

STUDY = f"""
task = "digits"
space = "module"
model = {{name = "{NET.name}", weights = "net.pt"}}
early_stopping.enabled = false

[[objectives]]
metric = "top1"
goal = "maximize"

[budget]
trials = 3
epochs = 1

[warm_start]
sensitivity = true
"""


@pytest.mark.parametrize(
    ("losses", "kept_out"),
    [
        ({"a": 0.0, "b": 9.0, "c": 0.02}, [["b"]]),
        ({"a": 2.0, "b": 9.0, "c": 0.02}, [["b"], ["b", "a"]]),
        ({"a": 0.05, "b": 0.05}, []),
        ({"a": 0.08, "b": 0.08, "c": 0.08}, [["a"], ["a", "b"]]),
        ({"a": -3.0, "b": 1.0}, [["b"]]),
        ({"a": 1.0, "b": 2.0}, [["b"]]),
        ({"a": 5.0}, []),
        ({}, []),
        (dict.fromkeys("abcdefgh", 10.0), [list("abcdefgh")[: k + 1] for k in range(5)]),
    ],
    ids=str,
)
def test_the_worst_are_kept_out_until_the_rest_costs_little(losses, kept_out):
    assert worst_first(losses) == kept_out


@pytest.fixture
def fragile(trained, place: Path) -> Path:  # noqa: F811
    """The network with one channel so large in its first block that int8 has no step left for the others."""
    net = run_recipe(RECIPE, trained).architecture
    with torch.no_grad():
        net.busy[0].bias[15] = 1e4
        net.busy[2].weight[:, 15] = 0
    torch.save(net.state_dict(), place / "net.pt")
    (place / "studies" / "own.toml").write_text(STUDY)
    return place


def test_the_search_tries_them_after_the_known_ones(fragile: Path, run_command: Run):
    assert run_command("check", "own").returncode == 0
    ran = run_command("run", "own")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    stored, _ = load(fragile / "runs", "own@digits")
    warm = stored.user_attrs["warm_start"]
    assert {key: value for key, value in warm[0].items() if key.startswith("exclude")} == {
        "exclude_busy": True,
        "exclude_idle": False,
        "exclude_classifier": False,
    }
    as_it_came, whole, kept_out = stored.get_trials(deepcopy=False)[:3]
    assert kept_out.params == warm[0]
    assert TrialRecord.of(kept_out).recipe.stages[0].exclude == {"busy": 32}
    top1 = [trial.values[0] for trial in (as_it_came, whole, kept_out)]
    assert top1[1] < top1[0] - 0.3
    assert top1[2] > top1[0] - 0.02
    assert len(list((fragile / "runs" / "sensitivity").glob("*.json"))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ["--set", f"model={NET.name}"],
            "warm_start.sensitivity: model tests.test_sensitivity:family is not",
        ),
        (["--set", "warm_start.sensitivity=false"], "expected from = STUDY, or sensitivity = true"),
    ],
    ids=["random weights", "nothing"],
)
def test_what_cannot_begin_so(fragile: Path, run_command: Run, change: list[str], message: str):
    said = run_command("check", "own", *change)
    assert said.returncode == 2
    assert message in said.stderr


def test_a_space_that_makes_its_models_has_none_to_measure(run_command: Run):
    said = run_command("check", "tiny", "--set", "warm_start.sensitivity=true")
    assert said.returncode == 2
    assert (
        "warm_start.sensitivity: space tiny makes models of its own: there is none to measure" in said.stderr
    )


def test_a_space_must_say_its_parameters(fragile: Path, run_command: Run):
    space = (Path(__file__).parents[1] / "spaces" / "module.py").read_text()
    named = space.replace("exclusions(", "others(")
    (fragile / "spaces" / "mine.py").write_text(named)
    said = run_command("check", "own", "--set", "space=mine")
    assert said.returncode == 2
    assert "space mine has no function exclusions(model, kept_out) that returns parameters" in said.stderr
    wrong = space.replace('{f"exclude_{name}": name in kept_out', '{f"exlude_{name}": name in kept_out')
    enqueued = wrong.replace(", exclusions(model, ())]", "]")
    (fragile / "spaces" / "mine.py").write_text(enqueued)
    said = run_command("check", "own", "--set", "space=mine")
    assert said.returncode == 2
    assert "warm_start.sensitivity: exclusions of space mine: " in said.stderr
