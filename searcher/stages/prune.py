"""Structured and unstructured pruning, each with its finetuning."""

import torch
from torch import nn

from searcher.costs.shapes import returned
from searcher.engines.channels import SCORED, scores
from searcher.errors import TrialError
from searcher.recipe import PruneChannels, PruneWeights
from searcher.stages.train import Run, fit

CALIBRATION = 256
"""Training images on which a criterion of the activations looks."""

# The engines are imported where they are used: NNI takes a second that the driver has no use for.


def prune_channels(model: nn.Module, stage: PruneChannels, run: Run) -> nn.Module:
    """Remove a ratio of the channels but those that the network returns, then finetune."""
    from searcher.engines import nni, torch_pruning

    engines = {"torch-pruning": torch_pruning.prune_channels, "nni": nni.prune_channels}
    example = run.task.example()
    keep = returned(model, tuple(example.shape))
    given = None
    if stage.criterion in SCORED:
        images = torch.split(run.task.train.images[:CALIBRATION], 64)
        batches = (run.task.normalise(part) for part in images)
        given = scores(model.cpu(), stage.criterion, batches, run.seed)
    small = engines[stage.engine](model.cpu(), example, stage.ratio, stage.criterion, keep, given)
    return fit(small, run, stage, "prune channels")


def prune_weights(model: nn.Module, stage: PruneWeights, run: Run) -> nn.Module:
    """Zero the smallest weights in steps, with finetuning after each; the zeros stay zero.

    The sparsity grows by the cubic schedule of Zhu and Gupta (2017) and reaches the asked one in the last
    step. The stage's epochs are divided among the steps, with at least one for each.
    """
    from searcher.engines import nni

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
