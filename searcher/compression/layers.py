"""The outputs of a network's layers while it runs: what a student has of them, and a teacher."""

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.errors import TrialError, nearest
from searcher.tasks.base import device_of


class Watched:
    """The outputs of some layers in a network's last forward pass, while it is watched.

    Attributes:
        outputs: By the layers' paths.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str], whose: str) -> None:
        """Find the layers.

        Args:
            network: Of which they are.
            paths: By which it names them.
            whose: For the message, e.g. ``teacher``.

        Raises:
            TrialError: There is no such layer.
        """
        self.outputs: dict[str, Tensor] = {}
        self._network, self._whose, self._hooks = network, whose, ExitStack()
        self._layers = {}
        known = {name: module for name, module in network.named_modules() if name}
        for path in paths:
            if path not in known:
                raise TrialError(f"no layer of the {whose} named {path!r}{nearest(path, known)}")
            self._layers[path] = known[path]

    def __enter__(self) -> "Watched":
        for path, layer in self._layers.items():
            self._hooks.callback(layer.register_forward_hook(partial(self._keep, path)).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()
        self.outputs.clear()

    def _keep(self, path: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        self.outputs[path] = output

    @torch.no_grad()
    def sizes(self, example: Tensor) -> dict[str, tuple[int, ...]]:
        """The sizes of the layers' outputs for an example; the network is in eval mode then.

        Raises:
            TrialError: One has no output, or none that is a tensor of a batch.
        """
        self.outputs.clear()
        if self._layers:
            self._network.eval()(example.to(device_of(self._network)))
        for path in self._layers:
            output = self.outputs.get(path)
            if not isinstance(output, Tensor) or output.ndim not in (2, 4):
                given = f"of {output.ndim} dimensions" if isinstance(output, Tensor) else "no tensor"
                raise TrialError(
                    f"layer {path} of the {self._whose}: its output is {given}, expected maps (N, C, H, W) "
                    "or features (N, C)"
                )
        return {path: tuple(output.shape) for path, output in self.outputs.items()}


def projection(own: tuple[int, ...], wanted: tuple[int, ...]) -> nn.Module:
    """A linear map from the channels of a student's layer to those of its teacher's."""
    if len(own) == 4:
        return nn.Conv2d(own[1], wanted[1], 1, bias=False)
    return nn.Linear(own[1], wanted[1], bias=False)


def feature_loss(projected: Tensor, wanted: Tensor) -> Tensor:
    """The mean square of the differences of two outputs; of maps, in the smaller of the two sizes."""
    if projected.ndim == 4:
        projected, wanted = _alike(projected.float(), wanted.float())
    return F.mse_loss(projected.float(), wanted.float())


def attention_loss(own: Tensor, wanted: Tensor) -> Tensor:
    """The mean square of the differences of two attention maps, as the authors' code has it."""
    own, wanted = _alike(own.float(), wanted.float())
    return (attention(own) - attention(wanted)).square().mean()


def attention(maps: Tensor) -> Tensor:
    """The mean square of the channels of maps (N, C, H, W), of length 1 in each image: (N, H · W)."""
    return F.normalize(maps.square().mean(1).flatten(1))


def _alike(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Maps in the smaller of their two sizes."""
    size = (min(one.shape[2], other.shape[2]), min(one.shape[3], other.shape[3]))
    small = [m if m.shape[2:] == size else F.adaptive_avg_pool2d(m, size) for m in (one, other)]
    return small[0], small[1]
