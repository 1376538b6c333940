"""A prediction held against what is counted: what differs, in words."""

from dataclasses import replace

import pytest

from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.config.recipe import Model, PruneWeights, Recipe, Train
from searcher.errors import TrialError

DENSE = Recipe(model=Model(name="resnet20"), stages=(Train(),))
SPARSE = Recipe(model=Model(name="resnet20"), stages=(PruneWeights(sparsity=0.5, scope="local"),))


def rows(recipe):
    ops = predict(recipe, (3, 32, 32), 10).ops
    assert ops is not None
    return ops


def difference(predicted, counted, recipe=DENSE):
    with pytest.raises(TrialError) as caught:
        reconcile(predicted, counted, recipe)
    return str(caught.value).splitlines()


def test_the_first_difference_is_the_first_line():
    ops = rows(DENSE)
    wide = replace(ops[3].arithmetic, multiplies=1000, macs=7)
    changes = {ops[3].name: {"arithmetic": wide, "bits": 8}, ops[6].name: {"output": (1, 8, 4, 4)}}
    found = [replace(op, **changes.get(op.name, {})) for op in ops]
    assert difference(ops, found) == [
        "predicted and counted cost differ: layer1.0.conv1 (aten::convolution): multiplications 1,000, "
        "predicted 2,359,296; MACs 7, predicted 2,359,296; bits 8, predicted 32; and 1 more operation",
        "layer1.0.conv2 (aten::convolution): output 1×8×4×4, predicted 1×16×32×32",
    ]


def test_operations_without_a_counterpart():
    ops = rows(DENSE)
    assert difference(ops, [op for op in ops if op.name != "relu"]) == [
        "predicted and counted cost differ: relu: predicted, not executed"
    ]
    assert difference(ops, [*ops, replace(ops[0], name="extra")]) == [
        "predicted and counted cost differ: extra: executed, not predicted"
    ]
    more = [*ops, *(replace(ops[0], name=f"extra{i}") for i in range(3))]
    assert difference(ops, more)[0].endswith("extra0: executed, not predicted; and 2 more operations")


def test_zeros_count_where_weights_are_pruned():
    ops = rows(SPARSE)
    sparser = [replace(op, nonzero=op.nonzero / 2) for op in ops]
    lines = difference(ops, sparser, SPARSE)
    assert lines == [
        "predicted and counted cost differ: zero weights: +67084 against the prediction, expected within 20"
    ]
    reconcile(rows(DENSE), [replace(op, nonzero=op.nonzero / 2) for op in rows(DENSE)], DENSE)
