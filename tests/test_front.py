import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from searcher.searching.pareto import non_dominated

POINTS = arrays(np.int8, st.tuples(st.integers(1, 12), st.integers(1, 3)))


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: np.ndarray):
    expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
    assert non_dominated(points) == expected


@given(POINTS)
def test_every_other_point_is_dominated_by_one_on_the_front(points: np.ndarray):
    best = non_dominated(points)
    for i, point in enumerate(points):
        assert i in best or any(dominates(points[j], point) for j in best)


def test_equal_points_stay():
    assert non_dominated(np.array([[1, 2], [1, 2], [2, 2]])) == [0, 1]
