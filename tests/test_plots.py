import math
from pathlib import Path

import pytest

from searcher import plots, storage
from searcher.curve import Point
from searcher.report import complete_trials
from tests.studies import BOUND, TWO, store, study

ROWS = [(0.6, 100.0), (0.8, 3000.0), (0.7, 5000.0)]


def test_bounds_are_lines_with_their_texts_on_either_scale(tmp_path: Path):
    searched = study(constraints=(*BOUND, {"metric": "macs", "at_most": 4000.0}))
    store(tmp_path, searched, ROWS)
    stored, _ = storage.load(tmp_path, searched.stored_name)
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
    stored, _ = storage.load(tmp_path, "told@digits")
    best = plots.history_figure(study(), complete_trials(stored), 1).data[0]
    assert (list(best.x), list(best.y)) == ([0, 2, 3], [50, 40, 40])


def test_a_curve_is_of_what_has_an_accuracy():
    points = [Point(1, "load", 0, 1, math.nan), Point(2, "train", 1, 2, 0.5), Point(3, "train", 2, 2, 0.75)]
    (line,) = plots.curve_figure({"<seed 0>": points}).data
    assert (list(line.x), list(line.y)) == ([2, 3], [0.5, 0.75])
    assert line.name == "&lt;seed 0&gt;"
    assert line.hovertext[1] == "&lt;seed 0&gt;<br>train 2/2: 75.00%"
