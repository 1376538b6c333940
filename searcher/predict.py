"""What a recipe will cost, before anything is trained, and whether it turned out so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from searcher.costs.channels import Channels
from searcher.costs.graph import keyed
from searcher.costs.kinds import Sizes
from searcher.costs.op import Op
from searcher.costs.record import record
from searcher.costs.shapes import outline
from searcher.engines.channels import check_removed
from searcher.errors import TrialError
from searcher.models import build
from searcher.recipe import PruneChannels, PruneWeights, Quantize, Recipe

PRUNED = ("conv", "linear")
INT8 = frozenset(
    ("conv", "linear", "batch_norm", "relu", "clamp", "cat", "add", "mul", "avg_pool", "max_pool", "mean")
)
"""The kinds that run in integers in a converted network, outside of what is kept out."""

GLOBAL_TOLERANCE = 0.005
"""One threshold over all layers meets a sparsity as nearly as equal magnitudes allow."""


def predict(recipe: Recipe, image: Sizes, classes: int) -> list[Op] | None:
    """The operations of the finished model, from shapes alone.

    Dense and structurally pruned networks are predicted to the unit. Of a sparse network the zeros are
    known in all, by layer where every layer has the same share.

    Args:
        recipe: What will be built, pruned and quantized.
        image: Channels, height and width of one image.
        classes: Number of outputs.

    Returns:
        The rows as `searcher.costs.graph.walk` will count them; None for a recipe that removes channels
        from a network whose forward does not take shapes for tensors.

    Raises:
        TrialError: Too few of the channels could be removed.
        SearcherError: The model cannot be built.
    """
    with torch.device("meta"):
        model = build(recipe.model.name, recipe.model.args, in_channels=image[0], classes=classes)
    ops, channels = _outline(model, (1, *image))
    kept: dict[int, int] = {}
    for stage in recipe.stages:
        if isinstance(stage, PruneChannels):
            if channels is None:
                return None
            before = _channels(ops)
            kept |= channels.after(stage.ratio)
            ops, channels = outline(model, (1, *image), kept)
            check_removed(stage.engine, 1 - _channels(ops) / max(before, 1), stage.ratio)
        elif isinstance(stage, PruneWeights):
            ops = [_sparse(op, stage) for op in ops]
        elif isinstance(stage, Quantize):
            ops = [_quantized(op, stage.exclude) for op in ops]
    return ops


def _outline(model: nn.Module, sizes: Sizes) -> tuple[list[Op], Channels | None]:
    try:
        return outline(model, sizes)
    except Exception:
        # A forward that looks at values, or wants real tensors.
        return record(model, torch.empty(sizes, device="meta")), None


def reconcile(predicted: Sequence[Op], counted: Sequence[Op], recipe: Recipe) -> None:
    """Compare the predicted operations with those that are executed.

    Raises:
        TrialError: They differ; names every operation that does.
    """
    expected, found = dict(keyed(predicted)), dict(keyed(counted))
    lines = [f"{name}: predicted, not executed" for name, *_ in expected.keys() - found.keys()]
    lines += [f"{name}: executed, not predicted" for name, *_ in found.keys() - expected.keys()]
    for key in expected.keys() & found.keys():
        lines += _differences(expected[key], found[key])
    zeros, most = _zeros(counted) - _zeros(predicted), _tolerance(predicted, recipe)
    if abs(zeros) > most:
        lines.append(f"zero weights: {zeros:+.0f} against the prediction, expected within {most:.0f}")
    if lines:
        raise TrialError("predicted and counted cost differ: " + "; ".join(sorted(lines)))


def _differences(expected: Op, found: Op) -> list[str]:
    fields = ["inputs", "output", "arithmetic", "weights", "biases", "folds_into"]
    if expected.arithmetic.multiplies or expected.arithmetic.adds:
        fields += ["bits", "weight_bits", "activation_bits"]
    pairs = [(name, getattr(expected, name), getattr(found, name)) for name in fields]
    return [
        f"{found.name} ({found.operation}): {name} predicted {a}, counted {b}"
        for name, a, b in pairs
        if a != b
    ]


def _zeros(ops: Sequence[Op]) -> float:
    return sum(op.weights - op.nonzero for op in ops if op.kind in PRUNED)


def _tolerance(ops: Sequence[Op], recipe: Recipe) -> float:
    """One weight a tensor, or what one threshold over all can be off."""
    tensors = [op.weights for op in ops if op.weights]
    shares = [s.scope == "global" for s in recipe.stages if isinstance(s, PruneWeights)]
    return max(len(tensors), GLOBAL_TOLERANCE * sum(tensors) if any(shares) else 0)


def _channels(ops: Sequence[Op]) -> int:
    return sum(op.output[1] for op in ops if op.kind == "conv" and op.weights)


def _sparse(op: Op, stage: PruneWeights) -> Op:
    if op.kind not in PRUNED:
        return op
    zeros = op.weights * stage.sparsity
    nonzero = op.weights - (int(zeros) if stage.scope == "local" else zeros)
    return replace(op, nonzero=nonzero, density=nonzero / op.weights if op.weights else 1 - stage.sparsity)


def _quantized(op: Op, exclude: Mapping[str, int]) -> Op:
    kept = next((bits for name, bits in exclude.items() if f"{op.name}.".startswith(f"{name}.")), None)
    bits = kept or (8 if op.kind in INT8 else 32)
    weight = None if op.weight_bits is None else bits
    row = replace(op, weight_bits=weight, effective_bits=weight, bias_bits=kept or 32)
    return replace(row, activation_bits=bits, output_bits=bits, bits=bits)
