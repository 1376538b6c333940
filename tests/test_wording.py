"""How a number of things is said, and a distance."""

import pytest

from searcher.execution.metrics import built_in
from searcher.tasks.detection.coco_eval import Evaluation
from searcher.wording import SHARES, is_share, off, several


@pytest.mark.parametrize(
    ("count", "name", "said"),
    [
        (0, "trial", "0 trials"),
        (1, "trial", "1 trial"),
        (2, "trial", "2 trials"),
        (1, "entry", "1 entry"),
        (3, "study", "3 studies"),
    ],
)
def test_a_count_agrees_with_its_noun(count: int, name: str, said: str) -> None:
    assert several(count, name) == said


@pytest.mark.parametrize(
    ("key", "value", "wanted", "said"),
    [
        ("top1", 0.8633, 0.9, "3.67 points"),
        ("map50:person", 0.25, 0.2, "5.00 points"),
        ("sparsity", 0.5, 0.75, "25.00 points"),
        ("top1", 0.899999, 0.9, "less than 0.01 points"),
        ("macs", 5000.0, 4000.0, "25.00 % of 4000"),
        ("micronet_score:imt-2022", 0.0031, 0.003, "3.33 % of 0.003"),
        ("params", 0.5, 0.0, "0.5"),
        ("mine", 2.0, -4.0, "150.00 % of -4"),
    ],
)
def test_a_distance_says_whether_it_is_in_points(key: str, value: float, wanted: float, said: str) -> None:
    assert off(key, value, wanted) == said


def test_every_figure_of_quality_that_is_built_in_is_a_share() -> None:
    assert built_in() < SHARES
    nothing = Evaluation(*[0.0] * 6, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), {"a": (0.0, 0.0), "b": (0.0, 0.0)})
    assert all(map(is_share, nothing.figures))
    assert not is_share("micronet_score:imt-2022")
