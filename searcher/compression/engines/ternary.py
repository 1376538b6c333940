"""Trained ternary weights (Zhu et al. 2017): each zero, or one of two scales of its layer."""

import copy
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from searcher.costs.counting.executed import CODE_BITS
from searcher.costs.op import Op
from searcher.errors import TrialError, unknown

BITS = 2
"""Of a code of three values."""

_LAYERS = ("Conv1d", "Conv2d", "Linear")


class TernaryWeight(nn.Module):
    """A parametrization of a weight by codes −1, 0 and 1 and a scale for each side of zero.

    The gradient of a scale is the sum of those of its weights. A weight's own passes the code, times the
    scale that it has.
    """

    def __init__(self, weight: Tensor, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold
        found = codes(weight.detach(), threshold)
        sides = [weight.detach()[found == sign].abs() for sign in (1, -1)]
        means = [side.mean() if len(side) else torch.ones(()) for side in sides]
        self.scales = nn.Parameter(torch.stack(means))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight in its three values."""
        found = codes(weight.detach(), self.threshold)
        positive, negative = self.scales.unbind()
        one = torch.ones_like(positive)
        factor = torch.where(found > 0, positive, torch.where(found < 0, negative, one)).detach()
        return valued(found, self.scales) + factor * (weight - weight.detach())


def codes(weight: Tensor, threshold: float) -> Tensor:
    """−1, 0 or 1 for each weight: 0 where it is at most a share of the largest."""
    least = threshold * weight.abs().max()
    return (weight > least).to(weight.dtype) - (weight < -least).to(weight.dtype)


def valued(found: Tensor, scales: Tensor) -> Tensor:
    """The weight of some codes with a positive and a negative scale."""
    positive, negative = scales.unbind()
    zero = torch.zeros_like(positive)
    return torch.where(found > 0, positive, torch.where(found < 0, -negative, zero))


def layers(ops: Sequence[Op], modules: Mapping[str, nn.Module], exclude: Collection[str] | None) -> list[str]:
    """The paths of the layers whose weights will be ternary, in the order of execution.

    Left as they are: layers whose weight another module has too.

    Args:
        ops: The network's rows.
        modules: Its modules by path.
        exclude: The paths of modules that are left alone; the first and the last layer where it is None.

    Raises:
        SearcherError: A path is not a module.
        TrialError: No layer is left.
    """
    for name in exclude or ():
        if name not in modules:
            raise unknown("module", name, [path for path in modules if path])
    found = [op.name for op in ops if type(modules.get(op.name)).__name__ in _LAYERS and op.weights]
    every = list(dict.fromkeys(found))
    kept = {every[0], every[-1]} if exclude is None and every else set(exclude or ())
    owners = Counter(id(m._parameters["weight"]) for m in modules.values() if "weight" in m._parameters)
    alone = [name for name in every if owners[id(modules[name].weight)] == 1]
    left = [name for name in alone if not any(f"{name}.".startswith(f"{path}.") for path in kept)]
    if not left:
        raise TrialError("ternary: no layer is left whose weights could be ternary")
    return left


def parametrized(model: nn.Module, names: Sequence[str], threshold: float) -> None:
    """Give layers ternary weights that can be trained, in place."""
    for name in names:
        layer: Any = model.get_submodule(name)
        parametrize.register_parametrization(layer, "weight", TernaryWeight(layer.weight, threshold))


def taken(model: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
    """The trained scales by layer; the layers have the weights behind their codes again, in place."""
    scales = {}
    for name in names:
        layer: Any = model.get_submodule(name)
        made = layer.parametrizations.weight
        scales[name], weight = made[0].scales.detach().clone(), made.original.detach().clone()
        # Which writes the three values into what was behind them.
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        layer.weight = nn.Parameter(weight)
    return scales


@torch.no_grad()
def executed(model: nn.Module, scales: Mapping[str, Tensor], threshold: float) -> nn.Module:
    """A copy of a network with the ternary weights in the place of those behind their codes."""
    ternary = copy.deepcopy(model)
    for name, pair in scales.items():
        layer: Any = ternary.get_submodule(name)
        layer.weight.copy_(valued(codes(layer.weight, threshold), pair))
        setattr(layer, CODE_BITS, BITS)
    return ternary.eval()
