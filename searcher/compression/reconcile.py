"""Reconciles a recipe's counted cost with the predicted one."""

import itertools
from collections.abc import Sequence
from typing import Any

from searcher.compression.stages import runner
from searcher.config.recipe import Recipe
from searcher.costs.counting.executed import keyed
from searcher.costs.op import Op
from searcher.errors import TrialError

WORDS = {
    "inputs": "inputs",
    "output": "output",
    "multiplies": "multiplications",
    "adds": "additions",
    "macs": "MACs",
    "dot_length": "length of a dot product",
    "groups": "groups",
    "bias": "bias",
    "weights": "weights",
    "biases": "biases",
    "folds_into": "folded into",
    "bits": "bits",
    "weight_bits": "bits of weights",
    "activation_bits": "bits of activations",
}
"""The compared fields of an operation and of its arithmetic, in words."""


def reconcile(predicted: Sequence[Op], counted: Sequence[Op], recipe: Recipe) -> None:
    """Compare the predicted operations with those that are executed.

    Raises:
        TrialError: They differ; the first line has the first operation that does, the next ones all others.
    """
    expected, found = dict(keyed(predicted)), dict(keyed(counted))
    places = {key: i for i, key in enumerate(expected)} | {key: i for i, key in enumerate(found)}
    pairs = [(expected.get(key), found.get(key)) for key in sorted(places, key=lambda key: places[key])]
    lines = [line for line in itertools.starmap(_difference, pairs) if line]
    pruned = [(a, b) for a, b in pairs if a and b and a.nonzero != a.weights]
    lines += _zeros([a for a, _ in pruned], [b for _, b in pruned], recipe)
    if lines:
        more = f"; and {len(lines) - 1} more operation{'s' * (len(lines) > 2)}" if len(lines) > 1 else ""
        first, *rest = lines
        raise TrialError("\n".join([f"predicted and counted cost differ: {first}{more}", *rest]))


def _difference(expected: Op | None, found: Op | None) -> str | None:
    """The differences of one operation, in words."""
    if expected is None or found is None:
        return f"{found.name}: executed, not predicted" if found else _missing(expected)
    a, b = _compared(expected), _compared(found)
    differing = [key for key in WORDS if a.get(key) != b.get(key)]
    texts = [f"{WORDS[key]} {_text(b.get(key))}, predicted {_text(a.get(key))}" for key in differing]
    return f"{found.name} ({found.operation}): {'; '.join(texts)}" if texts else None


def _missing(expected: Op | None) -> str | None:
    return f"{expected.name}: predicted, not executed" if expected else None


def _compared(op: Op) -> dict[str, Any]:
    fields = vars(op) | vars(op.arithmetic)
    width = ("bits", "weight_bits", "activation_bits")
    free = not (op.arithmetic.multiplies or op.arithmetic.adds)
    return {key: fields[key] for key in WORDS if not (free and key in width)}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        sizes = value if value and isinstance(value[0], tuple) else (value,)
        return " and ".join("×".join(map(str, size)) or "a number" for size in sizes)
    return f"{value:,}" if type(value) is int else {True: "yes", False: "no", None: "none"}.get(value, value)


def _zeros(predicted: Sequence[Op], counted: Sequence[Op], recipe: Recipe) -> list[str]:
    weights = sum(op.weights for op in predicted)
    allowed = [runner(stage).zeros_tolerance(stage, len(predicted), weights) for stage in recipe.stages]
    most = max((tolerance for tolerance in allowed if tolerance is not None), default=None)
    off = sum(op.nonzero for op in predicted) - sum(op.nonzero for op in counted)
    if most is None or abs(off) <= most:
        return []
    return [f"zero weights: {off:+.0f} against the prediction, expected within {most:.0f}"]
