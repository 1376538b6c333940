"""The study that is written of one's own model on one's own data."""

import tomllib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from searcher.config.budget import constraint
from searcher.config.draft import Draft
from searcher.config.recipe import Model
from searcher.config.study import StudyFile
from tests.helpers.folders import class_folders, picture

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(args=st.dictionaries(st.text(min_size=1), VALUES, max_size=3), task=st.text(min_size=1))
def test_whatever_a_model_takes_comes_back(args, task):
    model = Model(name="nets:build", args=args, weights="net.pt")
    read = tomllib.loads(Draft("own", model, task, "top1").text())
    assert Model.model_validate(read["model"]) == model
    assert read["task"] == task


@pytest.mark.parametrize(
    "line",
    ["macs <= 0.5x", "size_mb <= 2", "top1 >= -0.01", "top1 >= 0.9", "micronet_score:imt-2022 <= 0.7x"],
)
def test_a_budget_is_the_constraint_that_it_says(tmp_path: Path, line):
    path = tmp_path / "own.toml"
    path.write_text(Draft("own", Model(name="resnet20"), "digits", "top1", [constraint(line)]).text())
    study = StudyFile(str(path)).study("digits")
    assert study.constraints == (constraint(line),)
    assert [o.key for o in study.objectives] == ["top1", "size_mb"]


def test_a_cost_may_be_a_score(tmp_path: Path):
    path = tmp_path / "own.toml"
    text = Draft("own", Model(name="resnet20"), "digits", "top1", cost="micronet_score:imt-2022").text()
    path.write_text(text)
    study = StudyFile(str(path)).study("digits")
    assert study.objectives[1].key == "micronet_score:imt-2022"
    assert {m.key for m in study.metrics} == {"params", "macs", "size_mb"}


NETS = """
from torch import nn


def raises(num_classes):
    raise RuntimeError("no such thing as a network")


def wants(num_classes, depth):
    return nn.Linear(depth, num_classes)


def none(num_classes):
    return {"net": 1}


def wide(num_classes, in_chans):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_chans, 7))


def fine(num_classes, in_chans):
    return nn.Sequential(
        nn.Conv2d(in_chans, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )
"""


@pytest.fixture
def _nets(place: Path, monkeypatch: pytest.MonkeyPatch):
    (place / "inits_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(place))
    torch.save(nn.Linear(3, 2).state_dict(), place / "other.pt")
    class_folders(place / "photos", {"cat": 12, "dog": 12})
    class_folders(place / "empty", {"cat": 12, "dog": 0})
    class_folders(place / "alone" / "train", {"cat": 6, "dog": 6, "bird": 6})
    class_folders(place / "alone" / "val", {"cat": 6, "dog": 6})
    class_folders(place / "mixed", {"cat": 12, "dog": 12})
    picture(place / "mixed" / "stray.png", seed=1)
    class_folders(place / "broken", {"cat": 12})
    (place / "broken" / "dog").mkdir()
    (place / "broken" / "dog" / "1.png").write_bytes(b"")
    (place / "broken" / "dog" / "2.jpg").write_bytes(b"no image")


@pytest.mark.usefixtures("_nets")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "inits_nets:raises"}, "no such thing as a network"),
        ({"model": "inits_nets:wants"}, "depth"),
        ({"model": "inits_nets:none"}, "dict"),
        ({"model": "inits_nets:wide"}, "2×2"),
        ({"model": "inits_nets:find"}, "did you mean fine"),
        ({"model": "initsnets:fine"}, "initsnets"),
        ({"weights": "other.pt"}, "other.pt"),
        ({"weights": "none.pt"}, "none.pt"),
        ({"data": "./empty"}, "dog"),
        ({"data": "./alone"}, "bird"),
        ({"data": "./mixed"}, "images beside class folders, e.g. stray.png"),
        ({"data": "./broken"}, "dog"),
        ({"data": "./fotos"}, "photos"),
        ({"budget": "macs <= 0.001x"}, "the nearest has macs predicted"),
        ({"budget": "size_mb <= 0.00001"}, "the nearest has size_mb at least"),
        ({"budget": "macs < 0.5x"}, "macs <= 0.5x"),
        ({"budget": "top1 >= 90"}, "did you mean 0.90?"),
        ({"budget": "accuracy >= 0.9"}, "accuracy"),
        ({"cost": "size"}, "size_mb"),
        ({"arg": "depth"}, "KEY=VALUE"),
        ({"name": "a/b"}, "no name of a study"),
        ({"name": "micronet"}, "there is a study micronet already"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_one_message_and_writes_nothing(place, run_command, changes, words):
    asked = {"name": "own", "model": "inits_nets:fine", "data": "./photos"} | changes
    name = asked.pop("name")
    before = sorted((place / "studies").iterdir())
    said = run_command("init", name, *(f"--{key}={value}" for key, value in asked.items()))
    assert said.returncode == 2
    assert words in said.stderr
    assert said.stderr.startswith("error: ")
    assert "Traceback" not in said.stderr
    assert sorted((place / "studies").iterdir()) == before


@pytest.mark.usefixtures("_nets")
def test_what_is_written_can_be_run(place, run_command):
    asked = ("init", "own", "--model", "inits_nets:fine", "--data", "./photos")
    said = run_command(*asked, "--budget", "macs <= 0.9x")
    assert said.returncode == 0, said.stderr
    assert "studies/own.toml; next: searcher doctor own, searcher run own" in said.stdout
    assert run_command("check", "own").returncode == 0
    again = run_command(*asked)
    assert again.returncode == 2
    assert "there is a study own already" in again.stderr
