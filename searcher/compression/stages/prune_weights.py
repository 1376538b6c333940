"""Unstructured pruning: weights are zeroed in steps, with finetuning after each."""

import torch
from torch import nn

from searcher.compression.training import Run, fit
from searcher.config.recipe import PruneWeights
from searcher.errors import TrialError


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
        epochs = max(min(total, 1), total * step // stage.steps - total * (step - 1) // stage.steps)
        fit(model, run, stage, f"prune weights {step}/{stage.steps}", epochs=epochs, after_step=apply)
    zeros = sum(int((parameters[name] == 0).sum()) for name in masks)
    total = sum(mask.numel() for mask in masks.values())
    # Every layer rounds down to a weight of its own.
    if zeros + len(masks) < (stage.sparsity - 0.01) * total:
        raise TrialError(
            f"prune weights: asked for a sparsity of {stage.sparsity:.4f}, got {zeros / total:.4f}"
        )
    return model
