"""Budgets as lines of text, and bounds that are relative to the model as it came."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.config import budget
from searcher.config.metric import Constraint
from searcher.config.study import Study
from searcher.errors import SearcherError
from tests.helpers.studies import study


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("macs <= 0.5x", {"metric": "macs", "at_most": "0.5x"}, "macs <= 0.5x (of the model as it came)"),
        ("size_mb<=2", {"metric": "size_mb", "at_most": 2.0}, "size_mb <= 2.0"),
        (" latency_ms <= .7x ", {"metric": "latency_ms", "at_most": ".7x"}, None),
        (
            "top1 >= -0.01",
            {"metric": "top1", "at_most_drop": 0.01},
            "top1 >= -0.01 (of the model as it came)",
        ),
        ("top1 >= 0.9", {"metric": "top1", "at_least": 0.9}, "top1 >= 0.9"),
        ("fps >= 2x", {"metric": "fps", "at_least": "2x"}, None),
        ("macs <= 5e6", {"metric": "macs", "at_most": 5e6}, "macs <= 5000000.0"),
        (
            "micronet_score:imt-2022 <= 0.5x",
            {"metric": "micronet_score", "variant": "imt-2022", "at_most": "0.5x"},
            None,
        ),
    ],
)
def test_a_line_is_a_constraint(text: str, expected: dict[str, Any], said: str | None):
    found = budget.constraint(text)
    assert found.model_dump(exclude_none=True) == expected
    assert said is None or str(found) == said


@pytest.mark.parametrize(
    "text",
    ["", "macs", "macs < 3", "macs = 3", "<= 3", "macs <= ", "macs <= much", "macs <= -3", "macs <= nan",
     "macs <= inf", "macs <= 0.5xx", "macs <= -0.5x", "macs <= 50%", "macs <= 1 2", "top1 >= -inf"],
)  # fmt: skip
def test_what_is_no_budget_is_one_line(text: str):
    with pytest.raises(SearcherError) as caught:
        budget.constraint(text)
    assert str(caught.value).startswith(f"budget {text!r}: ")
    assert '"macs <= 0.5x"' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_relative_bound_binds_once_the_model_is_known():
    share, drop = budget.constraint("macs <= 0.5x"), budget.constraint("top1 >= -0.01")
    for bound in (share, drop):
        assert not bound.binds
        assert math.isnan(bound.bound)
        assert bound.violation(1e12) == bound.violation(-1e12) == 0
    share.learn({"macs": 41_200_000.0})
    drop.learn({"macs": 41_200_000.0})
    assert str(share) == "macs <= 0.5x (20,600,000)"
    assert share.name == "macs <= 0.5x"
    assert share.violation(20_600_001) == 1
    assert not drop.binds
    drop.learn({"top1": 0.9173})
    assert str(drop) == "top1 >= -0.01 (0.9073)"
    assert drop.violation(0.9) == pytest.approx(0.0073)


@given(times=st.floats(0.01, 10), figure=st.floats(1e-3, 1e9))
def test_so_many_times_the_figure_is_just_met_by_it(times: float, figure: float):
    text = f"{times:.4f}x"
    upper, lower = Constraint(metric="a", at_most=text), Constraint(metric="a", at_least=text)
    for bound in (upper, lower):
        bound.learn({"a": figure})
        assert bound.violation(bound.bound) == 0
        assert bound.bound == pytest.approx(float(text[:-1]) * figure)
    assert upper.violation(bound.bound * 1.1) > 0 > upper.violation(bound.bound * 0.9)
    assert lower.violation(bound.bound * 1.1) < 0 < lower.violation(bound.bound * 0.9)


@pytest.mark.parametrize(
    "bounds",
    [{}, {"at_most": 1.0, "at_least": 0.0}, {"at_most": "0.5x", "at_most_drop": 0.1}, {"at_most": "half"},
     {"at_most": True}, {"at_most": math.nan}, {"at_most_drop": -0.1}, {"at_most": "0.5 x"}],
)  # fmt: skip
def test_a_constraint_has_one_bound_that_is_one(bounds: dict[str, Any]):
    with pytest.raises(ValueError, match="validation error"):
        Constraint.model_validate({"metric": "macs"} | bounds)


def test_a_study_keeps_what_was_given_and_not_what_was_learnt():
    constraints = ({"metric": "macs", "at_most": "0.5x"}, {"metric": "top1", "at_most_drop": 0.02})
    asked = study(constraints=constraints)
    asked.learn({"macs": 100.0, "top1": 0.9})
    assert [c.key for c in asked.violated({"macs": 60.0, "top1": 0.87})] == ["macs", "top1"]
    again = Study.model_validate_json(asked.model_dump_json())
    assert json.loads(asked.model_dump_json())["constraints"][0]["at_most"] == "0.5x"
    assert [c.name for c in again.constraints] == ["macs <= 0.5x", "top1 >= -0.02"]
    assert again.violated({"macs": 60.0, "top1": 0.87}) == []
