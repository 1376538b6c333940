"""The optimizers of a training, whose learning rate is a tensor beside the weights, and its schedule."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from searcher.config.recipe import Training

WARM_UP_SHARE = 0.1
"""Of a training's steps: those in which the learning rate rises."""


class Optimizer:
    """SGD with Nesterov momentum, or Adam, in one kernel for all the weights.

    Attributes:
        rate: The learning rate of the next step, a scalar on the weights' device: a recorded step reads it
            there.
    """

    def __init__(self, model: nn.Module, training: Training, device: torch.device) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.rate = torch.tensor(training.lr, device=device)
        fused = all(p.is_floating_point() for p in self._parameters)
        self._inner: torch.optim.Optimizer
        if training.optimizer == "adam":
            # The first steps run as they are.
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            self._inner = torch.optim.Adam(
                self._parameters,
                self.rate,
                weight_decay=training.weight_decay,
                fused=fused,
                capturable=device.type == "cuda",
            )
        else:
            self._inner = torch.optim.SGD(
                self._parameters,
                self.rate,
                momentum=0.9,
                nesterov=True,
                weight_decay=training.weight_decay,
                fused=fused,
            )
            # A first step from no momentum is one from zero: no step is a special one.
            for parameter in self._parameters:
                self._inner.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def step(self, loss: Tensor) -> None:
        """Go down the gradient of a loss."""
        self._inner.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self._parameters:
            _align(parameter)
        self._inner.step()

    def release(self) -> None:
        """Let go of the gradients."""
        self._inner.zero_grad()

    def tensors(self) -> list[Tensor]:
        """All the tensors that a step changes, the weights apart."""
        states = self._inner.state.values()
        return [value for state in states for value in state.values() if isinstance(value, Tensor)]

    def state_dict(self) -> dict[str, Any]:
        """What a training goes on with; the learning rate is its schedule's."""
        return {"state": self._inner.state_dict()["state"]}

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on with it."""
        groups = self._inner.state_dict()["param_groups"]
        self._inner.load_state_dict({"state": stored["state"], "param_groups": groups})
        for group in self._inner.param_groups:
            group["lr"] = self.rate


def _align(parameter: Tensor) -> None:
    """Give a gradient its weights' strides, which a fused step asks for also where a side is 1."""
    grad = parameter.grad
    if grad is not None and grad.stride() != parameter.stride():
        same = torch.empty_strided(parameter.shape, parameter.stride(), dtype=grad.dtype, device=grad.device)
        parameter.grad = same.copy_(grad)


def schedule(steps: int) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to zero, as a factor of the learning rate."""
    warm = max(1, round(WARM_UP_SHARE * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor
