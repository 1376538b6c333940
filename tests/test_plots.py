import math
from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import create_trial

from searcher.execution.curve import Point
from searcher.searching.storage import studies
from searcher.ui.html import plots
from searcher.ui.terminal.trials import complete_trials
from tests.helpers.studies import BOUND, TWO, store, study

ROWS = [(0.6, 100.0), (0.8, 3000.0), (0.7, 5000.0)]


def test_bounds_are_lines_with_their_texts_on_either_scale(tmp_path: Path):
    searched = study(constraints=(*BOUND, {"metric": "macs", "at_most": 4000.0}))
    store(tmp_path, searched, ROWS)
    stored, _ = studies.load(tmp_path, searched.stored_name)
    chart = plots.front_figure(searched, complete_trials(stored), (1, 0))
    assert (chart.layout.xaxis.type, chart.layout.yaxis.type) == ("log", None)
    assert [(s.x0, s.y0) for s in chart.layout.shapes] == [(0, 0.5), (4000, 0)]
    quality, cost = chart.layout.annotations
    assert (quality.text, quality.y) == ("top1 &gt;= 0.5", 0.5)
    assert (cost.text, cost.x) == ("macs &lt;= 4000.0", pytest.approx(math.log10(4000)))
    assert {t.name: list(t.customdata) for t in chart.data} == {"misses a constraint": [2], "front": [1, 0]}


def test_cost_is_drawn_across_and_quality_upwards():
    assert plots.pairs(study()) == [(1, 0)]
    assert plots.pairs(study(objectives=(TWO[1], TWO[0]), constraints=())) == [(0, 1)]
    assert plots.pairs(study(objectives=TWO[:1])) == []


def test_the_best_so_far_is_a_feasible_one(tmp_path: Path):
    store(tmp_path, study(), [(0.6, 50.0), (0.4, 10.0), (0.7, 40.0), (0.9, 60.0)])
    stored, _ = studies.load(tmp_path, "told@digits")
    best = plots.history_figure(study(), complete_trials(stored), 1).data[0]
    assert (list(best.x), list(best.y)) == ([0, 2, 3], [50, 40, 40])


def test_a_curve_is_of_what_has_an_accuracy():
    points = [Point(1, "load", 0, 1, math.nan), Point(2, "train", 1, 2, 0.5), Point(3, "train", 2, 2, 0.75)]
    (line,) = plots.curve_figure({"<seed 0>": points}, "AP50").data
    assert (list(line.x), list(line.y)) == ([1, 2], [0.5, 0.75])
    assert line.name == "&lt;seed 0&gt;"
    assert line.hovertext[1] == "&lt;seed 0&gt;<br>train 2/2: 75.00%"


def test_a_curve_from_the_store_is_as_wide_as_one_that_was_trained():
    trained = [Point(10.0 * epoch, "train", epoch, 3, 0.2 * epoch) for epoch in (1, 2, 3)]
    kept = [Point(0.04, p.stage, p.epoch, p.epochs, p.accuracy) for p in trained]
    one, other = plots.curve_figure({"trained": trained, "kept": kept}, "top-1").data
    assert list(one.x) == list(other.x) == [1, 2, 3]


def test_a_teacher_is_left_out_of_its_students_curve():
    points = [
        *(Point(epoch, "train", epoch, 2, 0.5) for epoch in (1, 2)),
        *(Point(2 + epoch, "teacher", epoch, 2, 0.1) for epoch in (1, 2)),
        Point(5, "distill", 1, 1, 0.6),
    ]
    assert [p.accuracy for p in plots.trained(points)] == [0.5, 0.5, 0.6]


def test_an_epoch_that_was_repeated_after_a_kill_counts_once():
    def reports(*epochs: int) -> list[Point]:
        return [Point(place, "train", epoch, 3, place / 10) for place, epoch in enumerate(epochs)]

    def epochs(points: list[Point]) -> list[int]:
        return [p.epoch for p in plots.trained(points)]

    assert epochs(reports(1, 2, 3)) == [1, 2, 3]
    assert epochs(reports(1, 2, 2, 3)) == [1, 2, 3]
    assert epochs(reports(1, 2, 3, 2, 3)) == [1, 2, 3]
    assert epochs(reports(1, 2, 1, 2, 3)) == [1, 2, 3]
    assert epochs(reports(1, 2, 3, 1, 2, 3)) == [1, 2, 3, 1, 2, 3], "two stages of the same kind"
    assert [p.seconds for p in plots.trained(reports(1, 2, 2, 3))] == [0, 2, 3], "the last report counts"


def edge(x: list[float], y: list[float], shape: str) -> list[tuple[float, float]]:
    """The corners of a line that Plotly draws in steps."""
    points = list(zip(x, y, strict=True))
    corners = points[:1]
    for (x0, y0), (x1, y1) in pairwise(points):
        corners += [(x1, y0) if shape == "hv" else (x0, y1), (x1, y1)]
    return corners


@pytest.mark.parametrize("goals", list(product(("maximize", "minimize"), repeat=2)))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_corner_of_the_front_is_better_than_what_was_found(goals: tuple[str, str], data: st.DataObject):
    names = ("top1", "macs")
    objectives = tuple({"metric": m, "goal": g} for m, g in zip(names, goals, strict=True))
    searched = study(objectives=objectives, constraints=())
    rows = data.draw(st.lists(st.tuples(*[st.integers(1, 9)] * 2), min_size=1, max_size=8))
    trials = [
        create_trial(values=list(map(float, row)), user_attrs={"metrics": dict(zip(names, row, strict=True))})
        for row in rows
    ]
    pair = plots.pairs(searched)[0]
    (front,) = [t for t in plots.front_figure(searched, trials, pair).data if t.name == "front"]
    signs = [searched.objectives[i].sign for i in pair]
    found = [(signs[0] * x, signs[1] * y) for x, y in zip(front.x, front.y, strict=True)]
    for x, y in edge(front.x, front.y, front.line.shape):
        corner = (signs[0] * x, signs[1] * y)
        assert any(p[0] <= corner[0] and p[1] <= corner[1] for p in found)
