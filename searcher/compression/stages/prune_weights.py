"""Unstructured pruning: weights are zeroed in steps, with finetuning after each."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from searcher.compression import origin
from searcher.compression.engines.weight_masks import (
    FOUR,
    KINDS,
    fits,
    masked_weights,
    no_layer,
    weight_masks,
)
from searcher.compression.movement import Movement
from searcher.compression.network import Network, floating
from searcher.compression.outlined import Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.teaching import finetune, teacher_of
from searcher.compression.training import Run, Stateful, part_of
from searcher.config.recipe import PruneWeights
from searcher.costs.op import Op
from searcher.errors import TrialError

GLOBAL_ZEROS_SHARE = 0.005
"""Of the weights: one threshold over all layers meets a sparsity as nearly as equal magnitudes allow."""


class PruneWeightsRunner(Runner[PruneWeights]):
    """Zeroes weights in steps, with finetuning after each."""

    tolerance = 0.02  # of a share of zeros: one threshold over all layers decides which they are

    def run(self, model: nn.Module, stage: PruneWeights, run: Run) -> Network:
        """Zero the smallest weights in steps."""
        return floating(prune_weights(model, stage, run))

    def predict(self, outlined: Outlined, stage: PruneWeights) -> None:
        """Count the zeros: in all, or a layer where every layer has the same share."""
        layers = {name for name, m in outlined.modules.items() if type(m).__name__ in KINDS[stage.layers]}
        masked = [op.name in layers and _fits(op, stage.pattern) for op in outlined.ops]
        if not layers or not (any(masked) or stage.pattern == "single"):
            raise no_layer(stage.layers, stage.pattern)
        pairs = zip(outlined.ops, masked, strict=True)
        outlined.ops = [_sparse(op, stage) if zeros else op for op, zeros in pairs]

    def zeros_tolerance(self, stage: PruneWeights, tensors: int, weights: int) -> float | None:
        """One weight or block a tensor, or what one threshold over all can be off."""
        rounded = tensors * (FOUR if stage.pattern == "4x1" else 1)
        by_layer = stage.scope == "local" or stage.pattern == "2:4"
        return rounded if by_layer else max(rounded, GLOBAL_ZEROS_SHARE * weights)


def _fits(op: Op, pattern: str) -> bool:
    """Whether the weight that an operation reads has a pattern."""
    if pattern == "single":
        return True
    if op.kind == "conv":
        return fits((op.output[1], op.inputs[0][1] // op.arithmetic.groups), pattern)
    return fits((op.output[-1], op.inputs[0][-1]), pattern)


def _sparse(op: Op, stage: PruneWeights) -> Op:
    zeros = op.weights * stage.sparsity
    if stage.pattern == "4x1" and stage.scope == "local":
        zeros = FOUR * int(op.weights // FOUR * stage.sparsity)
    elif stage.scope == "local":
        zeros = int(zeros)
    nonzero = op.weights - zeros
    return replace(op, nonzero=nonzero, density=nonzero / op.weights if op.weights else 1 - stage.sparsity)


def prune_weights(model: nn.Module, stage: PruneWeights, run: Run) -> nn.Module:
    """Zero the smallest weights in steps, with finetuning after each; the zeros stay zero.

    The sparsity grows by the cubic schedule of Zhu and Gupta (2017) and reaches the asked one in the last
    step. The stage's epochs are divided among the trainings, with at least one for each.
    """
    teacher = teacher_of(stage.teaching, stage, run, model)
    model.to(run.device)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    names = masked_weights(model, stage.layers, stage.pattern)
    weights = origin.weights(stage, run)
    moved, besides = None, dict[str, Stateful]()
    total, before = run.epochs_of(stage.share), int(stage.criterion == "movement")
    if before:
        moved = besides["movement"] = Movement({name: parameters[f"{name}.weight"] for name in names})
        epochs = part_of(total, 1, stage.steps + before)
        others = {"epochs": epochs, "after_step": moved.add, "besides": besides}
        finetune(teacher, model, run, stage, "weights move", **others)
    for step in range(1, stage.steps + 1):
        sparsity = stage.sparsity * (1 - (1 - step / stage.steps) ** 3)
        scores = moved.scores if moved else None
        masks = weight_masks(model, sparsity, stage.scope, stage.layers, stage.pattern, scores)
        if weights:
            origin.give(model, weights)
        apply = _masking(parameters, masks, moved)
        apply()
        name = f"prune weights {step}/{stage.steps}"
        epochs = part_of(total, step + before, stage.steps + before)
        finetune(teacher, model, run, stage, name, epochs=epochs, after_step=apply, besides=besides)
    zeros = sum(int((parameters[name] == 0).sum()) for name in masks)
    every = sum(mask.numel() for mask in masks.values())
    # Every layer rounds down to a weight of its own, or to a block.
    rounded = len(masks) * (FOUR if stage.pattern == "4x1" else 1)
    if zeros + rounded < (stage.sparsity - 0.01) * every:
        raise TrialError(
            f"prune weights: asked for a sparsity of {stage.sparsity:.4f}, got {zeros / every:.4f}"
        )
    return model


def _masking(
    parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], moved: Movement | None
) -> Callable[[], None]:
    """Zeroes the pruned weights, and lets the others move on."""

    @torch.no_grad()
    def apply() -> None:
        if moved:
            moved.add()
        for name, mask in masks.items():
            parameters[name].mul_(mask)

    return apply
