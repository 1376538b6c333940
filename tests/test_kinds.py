"""What kind an operator is of, by its name alone."""

import pytest

from searcher.costs.arithmetic import (
    KINDS,
    MOVES,
    Arithmetic,
    adaptive_read,
    elementwise,
    reduction,
    window_of,
)
from searcher.costs.counting.operators import kind_of
from searcher.costs.op import UNCOUNTED


@pytest.mark.parametrize("space", ["aten", "quantized"])
def test_every_name_has_its_own_kind_and_no_relu_besides(space):
    for name, kind in KINDS.items():
        assert kind_of(f"{space}::{name}") == kind_of(f"{space}::{name}_") == (kind, False)


def test_an_operator_may_end_in_a_relu():
    assert kind_of("quantized::conv2d_relu") == ("conv", True)
    assert kind_of("quantized::add_relu") == ("add", True)
    assert kind_of("aten::nothing_relu") == (UNCOUNTED, False)


def test_int8_forms_are_of_the_kind_of_the_float_ones():
    for name in (
        "layer_norm",
        "group_norm",
        "instance_norm",
        "elu",
        "hardswish",
        "leaky_relu",
        "batch_norm3d",
    ):
        assert kind_of(f"quantized::{name}")[0] in (name, "batch_norm")


def test_nothing_is_both_counted_and_moved():
    assert not MOVES & KINDS.keys()
    for kind in set(KINDS.values()) - {"conv", "matmul"}:
        assert elementwise(kind, (2, 3)) or reduction(kind, (2, 3), 4), kind


def test_no_pooling_costs_less_than_nothing():
    assert reduction("mean", (1, 8, 4, 4), 0) == Arithmetic(128, 0)
    assert adaptive_read((1, 2, 5), (1, 2, 3), 1) == 2 * (2 + 3 + 2)
    assert (window_of(2), window_of([2, 3]), window_of([2], 1), window_of(2, 3)) == (4, 6, 2, 8)
