"""Ways to compress one block of a network and leave the others as they are, without finetuning."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from searcher.compression.engines import low_rank
from searcher.compression.engines.amount import Amount
from searcher.compression.network import Network, floating
from searcher.compression.stages import runner
from searcher.compression.training import Run
from searcher.config.recipe import Quantize
from searcher.config.stages.int8 import Widths
from searcher.costs.shapes.outline import returned
from searcher.errors import TrialError

Technique = Callable[[nn.Module, Sequence[str], Run], Network]
"""Of a network in floating point, which stays as it is, a block's paths, and a run of its task."""


def outside(network: nn.Module, paths: Sequence[str]) -> list[str]:
    """The paths of the largest modules that hold nothing of a block."""
    found: list[str] = []

    def look(module: nn.Module, before: str) -> None:
        for name, child in module.named_children():
            path = f"{before}{name}"
            if path in paths:
                continue
            if any(inner.startswith(f"{path}.") for inner in paths):
                look(child, f"{path}.")
            else:
                found.append(path)

    look(network, "")
    return found


def in_codes(network: nn.Module, paths: Sequence[str], run: Run, *, bits: int) -> Network:
    """The block in codes of so many bits, weights and activations, the others kept out of it.

    What a forward calls between blocks has 8 bits, whatever the block has.
    """
    widths = dict.fromkeys(paths, Widths(weights=bits, activations=bits))
    stage = Quantize(exclude=dict.fromkeys(outside(network, paths), 32), bits=widths)
    return runner(stage).run(copy.deepcopy(network), stage, run)


def fewer_channels(network: nn.Module, paths: Sequence[str], run: Run, *, ratio: float) -> Network:
    """The block with fewer channels, the smallest by L1 removed; those that others share stay."""
    from searcher.compression.engines import torch_pruning

    example = run.task.example()
    keep = [*outside(network, paths), *returned(network, tuple(example.shape))]
    return floating(torch_pruning.prune_channels(network, example, Amount(ratio), "l1", keep).net)


@torch.no_grad()
def fewer_weights(network: nn.Module, paths: Sequence[str], run: Run, *, sparsity: float) -> Network:
    """The block with its smallest weights at zero, as many in each layer."""
    made = copy.deepcopy(network)
    modules = (module for path in paths for module in made.get_submodule(path).modules())
    layers = [module for module in modules if isinstance(module, nn.Conv2d | nn.Linear)]
    if not layers:
        raise TrialError("it has no convolution and no linear layer")
    for layer in layers:
        zeros = int(sparsity * layer.weight.numel())
        kept = torch.ones(layer.weight.numel())
        kept[layer.weight.abs().flatten().argsort(stable=True)[:zeros]] = 0
        layer.weight.mul_(kept.view(layer.weight.shape))
    return floating(made)


def lower_rank(network: nn.Module, paths: Sequence[str], run: Run, *, ratio: float) -> Network:
    """The block factorized by Tucker-2 where that is smaller."""
    made = copy.deepcopy(network)
    low_rank.factorize(made, low_rank.by_ratio(ratio), "tucker", paths, run.task.example())
    return floating(made)


BITS = (8, 4, 2)
RATIOS = (0.3, 0.5, 0.7)

TECHNIQUES: dict[str, Technique] = {
    **{f"int{bits}": partial(in_codes, bits=bits) for bits in BITS},
    **{f"channels -{ratio:.0%}": partial(fewer_channels, ratio=ratio) for ratio in RATIOS},
    **{f"weights -{ratio:.0%}": partial(fewer_weights, sparsity=ratio) for ratio in RATIOS},
    "half the rank": partial(lower_rank, ratio=0.5),
}
"""By name, every technique that is tried, in the order in which it is."""
