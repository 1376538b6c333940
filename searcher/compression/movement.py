"""The movement of weights while they are trained (Sanh et al. 2020), by which they are pruned."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Movement:
    """The sum over a training's steps of minus weight times gradient: high where weights move away from zero.

    Attributes:
        scores: By the name of a parameter, of its shape.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters
        self.scores = {name: torch.zeros_like(p, requires_grad=False) for name, p in parameters.items()}

    @torch.no_grad()
    def add(self) -> None:
        """Add a step; nothing is waited for, so that a recorded step holds it."""
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                self.scores[name].addcmul_(parameter, parameter.grad, value=-1)

    def tensors(self) -> list[Tensor]:
        """What a step changes."""
        return list(self.scores.values())

    def state_dict(self) -> dict[str, Tensor]:
        """What a training goes on with."""
        return self.scores

    def load_state_dict(self, stored: Mapping[str, Tensor]) -> None:
        """Go on with it."""
        for name, scores in self.scores.items():
            scores.copy_(stored[name])
