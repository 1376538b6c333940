import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.ui.comparison import BETTER, WORSE, Change, changes, class_changes, class_headings, labels
from searcher.wording import SHARES


def test_changes_as_practitioners_state_them():
    before = {"top1": 0.95, "params": 1000.0, "fps": 100.0, "sparsity": 0.0, "micronet_score:imt-2022": 2.0}
    after = {
        "mine": 3.0,
        "micronet_score:imt-2022": 0.05,
        "params": 400.0,
        "sparsity": 0.651,
        "fps": 250.0,
        "top1": 0.9375,
        "size_mb": 0.125,
    }
    assert changes(before, after) == [
        Change("top-1 accuracy", "95.00%", "93.75%", "-1.25 points", WORSE),
        Change("size of the file", "", "0.1250 MB", ""),
        Change("images a second", "100", "250", "× 2.50", BETTER),
        Change("weights that are zero", "0.00%", "65.10%", ""),
        Change("parameters", "1,000", "400", "÷ 2.50", BETTER),
        Change("score imt-2022", "2.0000", "0.05000", "÷ 40.00", BETTER),
        Change("mine", "", "3.0000", ""),
    ]


def test_a_figure_that_grew_is_multiplied():
    before = {"inference_memory_mb": 24.3507, "fps": 5000.0, "macs": 7.0}
    assert changes(before, {"inference_memory_mb": 35.2133, "fps": 2500.0, "macs": 7.0}) == [
        Change("images a second", "5,000", "2,500", "÷ 2.00", WORSE),
        Change("memory of the model", "24.35 MB", "35.21 MB", "× 1.45", WORSE),
        Change("multiply-accumulates", "7.0000", "7.0000", "unchanged"),
    ]


def test_nothing_is_divided_by_zero():
    assert changes({"macs": 5.0, "fps": 0.0}, {"macs": 0.0, "fps": 1.0}) == [
        Change("images a second", "0.0000", "1.0000", "", BETTER),
        Change("multiply-accumulates", "5.0000", "0.0000", "", BETTER),
    ]


def test_what_cannot_be_seen_in_the_figures_is_no_verdict():
    assert changes({"top1": 0.9, "fps": 1000.0}, {"top1": 0.90004, "fps": 999.0}) == [
        Change("top-1 accuracy", "90.00%", "90.00%", "below 0.01 points"),
        Change("images a second", "1,000", "999", "below 1 %"),
    ]


@pytest.mark.parametrize(("goal", "verdict"), [("maximize", BETTER), ("minimize", WORSE), (None, "")])
def test_a_metric_of_the_users_own_has_the_goal_that_it_is_given(goal, verdict: str):
    (found,) = changes({"mine": 2.0}, {"mine": 3.0}, {"mine": goal})
    assert (found.verdict, found.change) == (verdict, "× 1.50" if goal else "")
    assert changes({"mine": -2.0}, {"mine": 3.0}, {"mine": goal})[0].change == ""


@given(st.sampled_from(sorted(labels())), st.floats(0.001, 1), st.floats(0.001, 1))
def test_what_is_better_one_way_is_worse_the_other(key: str, one: float, other: float):
    (there,), (back,) = changes({key: one}, {key: other}), changes({key: other}, {key: one})
    assert {there.verdict, back.verdict} in ({BETTER, WORSE}, {""})
    assert (labels()[key].unit == "%") == (key in SHARES)


def test_figures_of_a_class_are_rows_of_their_own():
    before = {"map": 0.5, "map:a": 0.4, "map50:a": 0.6, "map:b": 0.6}
    after = {"map": 0.4, "map:a": 0.5, "map50:a": 0.6, "map:b": 0.3}
    assert [c.label for c in changes(before, after)] == ["average precision"]
    assert [(name, [c.whole for c in found]) for name, found in class_changes(before, after)] == [
        ("a", [f"40.00% → 50.00%, +10.00 points, {BETTER}", "60.00% → 60.00%, unchanged"]),
        ("b", [f"60.00% → 30.00%, -30.00 points, {WORSE}", ""]),
    ]
    assert class_changes({}, {"map:a": 0.5})[0][1][0].whole == "50.00%"
    assert class_headings(after) == ("AP", "AP50")


def test_a_class_has_the_figures_that_there_are():
    after = {"miou": 0.4, "iou:a": 0.5, "iou:b": 0.3}
    assert [c.label for c in changes({}, after)] == ["mean intersection over union"]
    assert class_headings(after) == ("IoU",)
    assert [[c.whole for c in found] for _, found in class_changes({"iou:a": 0.4}, after)] == [
        [f"40.00% → 50.00%, +10.00 points, {BETTER}"],
        ["30.00%"],
    ]
