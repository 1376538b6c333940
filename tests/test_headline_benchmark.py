"""The figures of the recipes of CIFAR-10 over their seeds, and the front with the published ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import RESULTS
from benchmarks.headline import CHART, PUBLISHED, VARIANTS, summary
from benchmarks.scatter import drawn
from searcher.compression.predict import predict
from searcher.config import recipe_file
from searcher.costs.scores import score


def row(recipe: str, seed: int, score: float, validation: float, test: float | None) -> dict[str, Any]:
    costs = {"params": 1, "macs": 2, "zeros": 0, "imt-2022": score, "imt-2025": 1.0, "micronet-2019": 1.0}
    return {"recipe": recipe, "seed": seed, "validation": validation, "test": test} | costs


ROWS = [
    row("small", 0, 0.0084, 0.91, 0.90),
    row("small", 1, 0.0084, 0.93, 0.92),
    row("smaller", 0, 0.004, 0.9, 0.89),
    row("untested", 0, 0.001, 0.95, None),
]


def test_mean_and_spread_of_the_seeds() -> None:
    small = summary(ROWS)["networks"]["small"]
    assert (small["seeds"], small["validation"]) == (2, pytest.approx(0.92))
    assert small["test"] == pytest.approx(0.91)
    assert small["test_spread"] == pytest.approx(0.01 * 2**0.5)


def test_the_ratio_is_of_those_that_are_good_enough_on_the_test_images() -> None:
    assert summary(ROWS)["ratio"] == pytest.approx(0.0084 / 0.0167)
    assert summary(ROWS[2:])["ratio"] > 1


def test_what_is_worse_in_both_is_not_on_the_front_and_what_is_not_tested_is_not_drawn() -> None:
    points = {point["recipe"]: point for point in summary(ROWS)["points"]}
    assert len(points) == len(PUBLISHED) + 2
    assert [name for name, point in points.items() if point["front"]] == ["; small", "; smaller"]


def test_every_published_point_is_in_the_chart() -> None:
    found = summary(ROWS)
    chart = drawn(found["points"], **CHART)
    assert chart.count('class="trial"') == len(PUBLISHED) + 1  # and the legend
    assert "0.0084, 91.0%: small" in chart
    assert CHART["legend"] in chart


def test_the_recipes_cost_what_the_benchmark_says() -> None:
    figures = json.loads((RESULTS / "headline.json").read_text())["networks"]
    files = sorted((Path(__file__).parents[1] / "results" / "cifar10").glob("*.toml"))
    assert {path.stem for path in files} == set(figures)
    for path in files:
        ops = predict(recipe_file.load(path).recipe, (3, 32, 32), 10).ops
        assert ops is not None
        # A mask pays where the zeros are, which is known once they are chosen.
        for variant in VARIANTS[:2] if figures[path.stem]["zeros"] else VARIANTS:
            assert score(ops, variant).value == pytest.approx(figures[path.stem][variant], rel=1e-3)
        assert all(op.bits == op.activation_bits for op in ops if op.kind in ("conv", "linear"))
