"""The study that is written of one's own model on one's own data."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.config.budget import constraint
from searcher.config.draft import Draft
from searcher.config.recipe import Model
from searcher.config.study import StudyFile

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
