"""The figures of the recipes of CIFAR-10 over their seeds, and the front with the published ones."""

from typing import Any

import pytest

from benchmarks.headline import CHART, PUBLISHED, summary
from benchmarks.scatter import drawn


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
