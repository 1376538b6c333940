"""Batch norms that the layer before them could hold."""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace

from searcher.costs.op import Op

_LAYERS = ("conv", "linear")


def mark_folds(ops: Sequence[Op], returned: Collection[int | None] = ()) -> list[Op]:
    """Say of each batch norm which layer could hold it: the one before, where nothing else reads that.

    A layer that runs several times can hold a batch norm that follows it every time.

    Args:
        ops: The rows of a network.
        returned: The rows, by position, whose outputs it returns.
    """
    readers = Counter(producer for op in ops for producer in op.producers)
    readers.update(row for row in returned if row is not None)
    folds = {i: op.producers[0] for i, op in enumerate(ops) if _could(op, ops, readers)}
    after = {before: ops[norm].name for norm, before in folds.items()}
    layers = _layers(ops)
    followers: dict[Hashable, set[str | None]] = {}
    for i, layer in layers.items():
        followers.setdefault(layer, set()).add(after.get(i))
    alone = {norm: before for norm, before in folds.items() if len(followers[layers[before]]) == 1}
    # A layer has the bias that it gains once, and adds it every time that it runs.
    first = {layers[before]: norm for norm, before in reversed(alone.items())}
    return [_folded(op, ops[alone[i]], i in first.values()) if i in alone else op for i, op in enumerate(ops)]


def _could(op: Op, ops: Sequence[Op], readers: Mapping[int, int]) -> bool:
    if op.kind != "batch_norm" or len(op.producers) != 1:
        return False
    before = ops[op.producers[0]]
    if before.kind not in _LAYERS or readers[op.producers[0]] != 1:
        return False
    return math.prod(before.output) == math.prod(op.output) and op.inputs[0][1] == _channels(before)


def _folded(norm: Op, layer: Op, first: bool) -> Op:
    gains = not layer.arithmetic.bias
    bias = _channels(layer) if gains and first else 0
    return replace(norm, folds_into=layer.name, fold_bias=bias, fold_adds=gains)


def _layers(ops: Sequence[Op]) -> dict[int, Hashable]:
    """Rows of layers, by position, with what is the same for rows that share their weights.

    That is the module's path. Where a row has the weights of another path, which one is not known: all the
    layers of its sizes may be it.
    """
    rows = {i: op for i, op in enumerate(ops) if op.kind in _LAYERS}
    owners = {op.name for op in rows.values() if op.weights}
    borrowers = (op for op in rows.values() if op.weight_bits and not op.weights and op.name not in owners)
    borrowed = {_sizes(op) for op in borrowers}
    return {i: _sizes(op) if _sizes(op) in borrowed else op.name for i, op in rows.items()}


def _sizes(op: Op) -> Hashable:
    return op.kind, op.arithmetic.dot_length, op.arithmetic.groups, _channels(op)


def _channels(layer: Op) -> int:
    return next(iter(layer.output[1:2] if layer.kind == "conv" else layer.output[-1:]), 1)
