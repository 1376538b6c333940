"""Unstructured pruning: weights are zeroed in steps, with finetuning after each."""

from dataclasses import replace

import torch
from torch import nn

from searcher.compression.network import Network, floating
from searcher.compression.outlined import Outlined
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run, fit, part_of
from searcher.config.recipe import PruneWeights
from searcher.costs.op import Op
from searcher.errors import TrialError

PRUNED = ("Conv2d", "Linear")
"""The types of module in which the engine zeroes weights, for the prediction."""

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
        layers = {name for name, m in outlined.modules.items() if type(m).__name__ in PRUNED}
        outlined.ops = [_sparse(op, stage) if op.name in layers else op for op in outlined.ops]

    def zeros_tolerance(self, stage: PruneWeights, tensors: int, weights: int) -> float | None:
        """One weight a tensor, or what one threshold over all can be off."""
        return max(tensors, GLOBAL_ZEROS_SHARE * weights if stage.scope == "global" else 0)


def _sparse(op: Op, stage: PruneWeights) -> Op:
    zeros = op.weights * stage.sparsity
    nonzero = op.weights - (int(zeros) if stage.scope == "local" else zeros)
    return replace(op, nonzero=nonzero, density=nonzero / op.weights if op.weights else 1 - stage.sparsity)


def prune_weights(model: nn.Module, stage: PruneWeights, run: Run) -> nn.Module:
    """Zero the smallest weights in steps, with finetuning after each; the zeros stay zero.

    The sparsity grows by the cubic schedule of Zhu and Gupta (2017) and reaches the asked one in the last
    step. The stage's epochs are divided among the steps, with at least one for each.
    """
    from searcher.compression.engines import nni

    model.to(run.device)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    total = run.epochs_of(stage.share)
    for step in range(1, stage.steps + 1):
        sparsity = stage.sparsity * (1 - (1 - step / stage.steps) ** 3)
        masks = nni.weight_masks(model, sparsity, stage.scope)

        @torch.no_grad()
        def apply(masks: dict[str, torch.Tensor] = masks) -> None:
            for name, mask in masks.items():
                parameters[name].mul_(mask)

        apply()
        epochs = part_of(total, step, stage.steps)
        fit(model, run, stage, f"prune weights {step}/{stage.steps}", epochs=epochs, after_step=apply)
    zeros = sum(int((parameters[name] == 0).sum()) for name in masks)
    weights = sum(mask.numel() for mask in masks.values())
    # Every layer rounds down to a weight of its own.
    if zeros + len(masks) < (stage.sparsity - 0.01) * weights:
        raise TrialError(
            f"prune weights: asked for a sparsity of {stage.sparsity:.4f}, got {zeros / weights:.4f}"
        )
    return model
