"""Common parts of the engines for structured pruning: scores, modules kept whole, what comes out."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.engines.labels import Kept
from searcher.compression.step import Loss
from searcher.costs.operators_table import listed, torchs
from searcher.errors import unknown
from searcher.tasks.base import Batch

FOLLOWING: tuple[type[nn.Module], ...] = tuple(map(torchs, sorted(listed(lambda row: row.follows))))
"""Modules that belong to the convolution before them."""


@dataclass(frozen=True)
class Pruned:
    """What an engine makes of a network.

    Attributes:
        net: The smaller network.
        kept: What is left of each of its tensors.
    """

    net: nn.Module
    kept: Kept

    def of_what_was_left(self, before: Kept | None) -> Kept:
        """What is left of the network before an earlier step, of which so much was left."""
        if before is None:
            return self.kept
        return {name: before[name].flatten()[positions] for name, positions in self.kept.items()}


def kept_modules(net: nn.Module, keep: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of the given names and all that is inside them, by name.

    Raises:
        SearcherError: No module of a name.
    """
    modules = dict(net.named_modules())
    for name in keep:
        if name not in modules:
            raise unknown("module", name, modules)
    return {n: m for n, m in modules.items() if any(f"{n}.".startswith(f"{name}.") for name in keep)}


Scores = dict[str, Tensor]
"""The importance of every output channel of every convolution, (channels,), by the module's name."""


def random_scores(model: nn.Module, batches: Iterable[Tensor], seed: int) -> Scores:
    """Random numbers."""
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.rand(m.out_channels, generator=generator) for n, m in _convolutions(model).items()}


def activation_scores(model: nn.Module, batches: Iterable[Tensor], seed: int) -> Scores:
    """The mean magnitude of what follows from a channel.

    That is behind the batch norm and the activation that the convolution is followed by.
    """
    convolutions = _convolutions(model)
    sums = {name: torch.zeros(m.out_channels) for name, m in convolutions.items()}
    last: list[str] = []
    now: dict[str, Tensor] = {}

    def seen(name: str, module: nn.Module, output: Any) -> None:
        if name in convolutions:
            last[:] = [name]
        elif not (last and isinstance(module, FOLLOWING) and len(sums[last[0]]) == output.shape[1]):
            return
        # What follows takes the place of what was there before.
        now[last[0]] = output.detach().abs().mean((0, 2, 3))

    leaves = [(n, m) for n, m in model.named_modules() if not any(True for _ in m.children())]
    hooks = [m.register_forward_hook(lambda m, _, out, n=n: seen(n, m, out)) for n, m in leaves]
    try:
        with torch.no_grad():
            for images in batches:
                now.clear()
                last.clear()
                model.eval()(images)
                for name, value in now.items():
                    sums[name] += value
    finally:
        for hook in hooks:
            hook.remove()
    return sums


def taylor_scores(model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Scores:
    """By how much the loss changes without a channel's filter, to the first order (Molchanov et al. 2019).

    That is the magnitude of the sum of gradient times weight over the filter, summed over the batches. Norms
    take their running statistics: by a batch's own, the loss would not depend on how large a filter is.
    """
    judged = copy.deepcopy(model).eval().requires_grad_(True)
    # Of channels_last torch's backward pass of a narrow strided 1×1 convolution writes outside of its memory.
    judged.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    convolutions = _convolutions(judged)
    sums = {name: torch.zeros(m.out_channels) for name, m in convolutions.items()}
    weights = [m.weight for m in convolutions.values()]
    for batch in batches:
        with torch.enable_grad():
            value = loss(judged(batch.images), batch)
            gradients = torch.autograd.grad(value, weights, allow_unused=True)
        for name, weight, gradient in zip(sums, weights, gradients, strict=True):
            if gradient is not None:
                sums[name] += (gradient * weight.detach()).flatten(1).sum(1).abs()
    return sums


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


SCORED: dict[str, Callable[[nn.Module, Iterable[Tensor], int], Scores]] = {
    "random": random_scores,
    "activation": activation_scores,
}
"""Criteria that give an engine a score for every channel: of the network on the CPU, of batches of normalised
images (N, C, H, W), and of a seed."""

GRADED: dict[str, Callable[[nn.Module, Iterable[Batch], Loss], Scores]] = {"taylor": taylor_scores}
"""The same of the network on the CPU, of batches with their labels, and of the loss of its outputs."""
