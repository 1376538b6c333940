import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from searcher.searching.hypervolume import added, alone, dominated


def test_the_hypervolume_that_a_point_adds_by_hand():
    two = np.array([[0.0, 1.0], [1.0, 0.0]])
    # Of the box of 1.1 by 1.1, the corners that the two leave between them.
    assert added(two, [0.5, 0.5]) == pytest.approx(0.5 * 0.5 / 1.21)
    assert added(two, [1.0, 1.0]) == 0
    assert added(two, [1.0, 0.0]) == 0
    assert added(np.empty((0, 2)), [3.0, 4.0]) == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9), st.integers(1, 9))
def test_a_point_adds_something_where_nothing_is_as_good(pairs: list[tuple[int, int]], scale: int):
    point, *rest = pairs
    points = np.array(rest, dtype=float).reshape(-1, 2)
    dominated = bool((points <= np.array(point)).all(1).any())
    assert (added(points, point) > 1e-9) == (not dominated)
    assert added(points * [1, scale], [point[0], point[1] * scale]) == pytest.approx(added(points, point))


def test_what_each_dominates_alone():
    # The middle one: the square between the others; each end: half of the margin beyond the worst.
    assert alone(np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])) == pytest.approx(
        [0.05 / 1.21, 0.25 / 1.21, 0.05 / 1.21]
    )
    assert list(alone(np.array([[2.0, 3.0]]))) == [1.0]
    assert list(alone(np.array([[2.0, 3.0], [2.0, 3.0]]))) == [0.0, 0.0]


def test_what_points_dominate_one_after_another_by_hand():
    points = np.array([[1.0, 2.0], [0.0, 0.0], [2.0, 1.0], [2.0, 2.0]])
    counted = np.array([True, False, True, True])
    assert dominated(points, counted, np.array([3.0, 3.0])) == [2, 2, 3, 3]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_points_dominate_together_what_the_last_of_them_says(pairs: list[tuple[int, int]]):
    points, reference = np.array(pairs, dtype=float), np.array([9.5, 9.5])
    volumes = dominated(points, np.ones(len(points), dtype=bool), reference)
    assert volumes[-1] == pytest.approx(compute_hypervolume(points, reference))
    assert volumes == sorted(volumes)
