"""How a number of things is said."""

import pytest

from searcher.wording import several


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
