"""Common parts of the engines for structured pruning: scores, modules kept whole, the least removal."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from searcher.costs.operators_table import listed, torchs
from searcher.errors import TrialError, unknown

FOLLOWING: tuple[type[nn.Module], ...] = tuple(map(torchs, sorted(listed(lambda row: row.follows))))
"""Modules that belong to the convolution before them."""

MIN_SHARE = 0.25
"""The least share of the asked ratio that must be removed for the result to count as pruned."""


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


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


SCORED: dict[str, Callable[[nn.Module, Iterable[Tensor], int], Scores]] = {
    "random": random_scores,
    "activation": activation_scores,
}
"""Criteria that give an engine a score for every channel: of the network on the CPU, of batches of normalised
images (N, C, H, W), and of a seed."""


def check_removed(engine: str, before: float, after: float, ratio: float) -> None:
    """Refuse a result from which too few channels were removed.

    Args:
        engine: What has removed them.
        before: The channels that there were to remove from.
        after: Those that are left.
        ratio: The share that was to be removed.

    Raises:
        TrialError: Less than `MIN_SHARE` of the ratio was removed, or there were none to begin with.
    """
    if not before:
        raise TrialError(f"{engine}: the network has no layer whose channels could be removed")
    removed = 1 - after / before
    if removed < ratio * MIN_SHARE:
        raise TrialError(
            f"{engine} was asked to remove {ratio:.1%} of the channels and could remove {removed:.1%}: "
            "the layers are too narrow, kept, or fixed by group convolutions or padded shortcuts"
        )
