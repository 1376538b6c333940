"""An exponential moving average of a network's weights while it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of all numbers of a network's state; counters stay the network's own.

    torch's `AveragedModel` asks its own counter, which lies on the device, in each step, and so cannot be
    recorded. As TensorFlow's and timm's does, the decay grows with the steps, (1 + step) / (10 + step), up to
    the one that was asked for: what the training began with is forgotten.

    Attributes:
        share: The share of the next step's weights in the average, a scalar on their device.
    """

    def __init__(self, network: nn.Module, decay: float, device: torch.device) -> None:
        self._decay = decay
        self._own = {
            name: tensor.detach()
            for name, tensor in network.state_dict().items()
            if tensor.is_floating_point() or tensor.is_complex()
        }
        self._averages = {name: tensor.clone() for name, tensor in self._own.items()}
        self.share = torch.zeros((), device=device)

    def at(self, step: int) -> None:
        """Prepare for a step, which is counted from 0."""
        self.share.fill_(1 - min(self._decay, (1 + step) / (10 + step)))

    @torch.no_grad()
    def step(self) -> None:
        """Take the weights into the average."""
        averages = self.tensors()
        apart = torch._foreach_sub(list(self._own.values()), averages)
        torch._foreach_mul_(apart, self.share)
        torch._foreach_add_(averages, apart)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network with the averages for its weights, for a while."""
        weights = {name: tensor.clone() for name, tensor in self._own.items()}
        self.hand_over()
        try:
            yield
        finally:
            _copy(weights, self._own)

    def hand_over(self) -> None:
        """Give the network the averages."""
        _copy(self._averages, self._own)

    def tensors(self) -> list[Tensor]:
        """The averages, which a step changes."""
        return list(self._averages.values())

    def state_dict(self) -> dict[str, Tensor]:
        """What a training goes on with."""
        return self._averages

    def load_state_dict(self, stored: dict[str, Tensor]) -> None:
        """Go on with it."""
        _copy(stored, self._averages)


@torch.no_grad()
def _copy(values: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    for name, value in values.items():
        tensors[name].copy_(value)
