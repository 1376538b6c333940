"""The optimizers of a training, whose learning rate is a tensor beside the weights."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from searcher.config.recipe import Training

_SCALING = ("_scale", "_growth_tracker")
"""The tensors of torch's `GradScaler`."""


class Optimizer:
    """SGD with Nesterov momentum, Adam or AdamW, in one kernel for all the weights.

    In fp16 the loss is scaled, and a step whose gradients are not finite is left out; nothing waits for that.

    Attributes:
        rate: The learning rate of the next step, a scalar on the weights' device: a recorded step reads it
            there.
    """

    def __init__(self, model: nn.Module, training: Training, device: torch.device) -> None:
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self.rate = torch.tensor(training.lr, device=device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=training.precision == "fp16")
        self._scaler.scale(self.rate)  # makes its tensors, before a step is recorded
        fused = all(p.is_floating_point() for p in self._parameters)
        self._inner: torch.optim.Optimizer
        if training.optimizer == "sgd":
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
        else:
            # The first steps run as they are.
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            adaptive = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
            self._inner = adaptive(
                self._parameters,
                self.rate,
                weight_decay=training.weight_decay,
                fused=fused,
                capturable=device.type == "cuda",
            )

    def step(self, loss: Tensor) -> None:
        """Go down the gradient of a loss."""
        self._inner.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        for parameter in self._parameters:
            _align(parameter)
        self._scaler.step(self._inner)
        self._scaler.update()

    def release(self) -> None:
        """Let go of the gradients."""
        self._inner.zero_grad()

    def tensors(self) -> list[Tensor]:
        """All the tensors that a step changes, the weights apart."""
        states = self._inner.state.values()
        tensors = [value for state in states for value in state.values() if isinstance(value, Tensor)]
        return tensors + self._scaling()

    def state_dict(self) -> dict[str, Any]:
        """What a training goes on with; the learning rate is its schedule's."""
        return {"state": self._inner.state_dict()["state"], "scaling": self._scaling()}

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on with it."""
        groups = self._inner.state_dict()["param_groups"]
        self._inner.load_state_dict({"state": stored["state"], "param_groups": groups})
        for group in self._inner.param_groups:
            group["lr"] = self.rate
        for tensor, value in zip(self._scaling(), stored.get("scaling", []), strict=True):
            tensor.copy_(value)

    def _scaling(self) -> list[Tensor]:
        """The scale of the loss, and the steps since it last changed; nothing where it is not scaled."""
        return [vars(self._scaler)[name] for name in _SCALING] if self._scaler.is_enabled() else []


def _align(parameter: Tensor) -> None:
    """Give a gradient its weights' strides, which a fused step asks for also where a side is 1."""
    grad = parameter.grad
    if grad is not None and grad.stride() != parameter.stride():
        same = torch.empty_strided(parameter.shape, parameter.stride(), dtype=grad.dtype, device=grad.device)
        parameter.grad = same.copy_(grad)
