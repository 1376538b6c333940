"""The elements of a network's tensors that an engine has left of them, told by the tensors themselves."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from searcher.errors import TrialError

_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}

Kept = dict[str, Tensor]
"""By the name of a parameter or buffer, positions of its elements in the flattened one before."""


class Labels:
    """Positions in the place of a network's values while an engine cuts its tensors.

    An engine's own account of what it removes may be wrong, and equal values do not tell filters apart. So
    between its choice and its cut every element of a parameter or buffer is made its own position, as the
    bits of a number: what is left says what was kept, whatever the engine believes.
    """

    def __init__(self, net: nn.Module, engine: str) -> None:
        """Put the positions in the place of the values.

        Args:
            net: Cut after this; its values are given back by `taken`.
            engine: As a reader knows it.
        """
        self.engine = engine
        self.values = {name: tensor.detach().clone() for name, tensor in _tensors(net)}
        self.bare = [name for name, module in net.named_modules() if _bare(module)]
        for name in self.bare:
            _set_affine(net.get_submodule(name), True)
        for tensor in dict(_tensors(net)).values():
            bits = torch.arange(tensor.numel(), dtype=_BITS[tensor.dtype])
            tensor.data = bits.view(tensor.dtype).view(tensor.shape)

    def taken(self, net: nn.Module) -> Kept:
        """Give a network that was cut its values back.

        Returns:
            Where each element was before. A norm without parameters has those of a weight that it would have.

        Raises:
            TrialError: A tensor holds what was not there before.
        """
        kept: Kept = {}
        for name, tensor in _tensors(net):
            kept[name] = tensor.detach().contiguous().view(_BITS[tensor.dtype]).long()
        for name in self.bare:
            kept.pop(f"{name}.bias")
            _set_affine(net.get_submodule(name), False)
        for name, _ in _tensors(net):
            value = self.values.get(name)
            if value is None or not ((kept[name] >= 0) & (kept[name] < value.numel())).all():
                raise TrialError(
                    f"{self.engine} cannot prune this network: it put numbers of its own into {name}"
                )
        # Not before all are read: one tensor may have several names.
        for name, tensor in _tensors(net):
            tensor.data = self.values[name].flatten()[kept[name]]
        return kept


def _tensors(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in [
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ]:
        if tensor.dtype in _BITS:
            yield name, tensor


def _bare(module: nn.Module) -> bool:
    """Whether a norm brings channels together and has no parameters that tell which."""
    return isinstance(module, nn.GroupNorm | nn.LayerNorm) and module.weight is None


def _set_affine(norm: Any, affine: bool) -> None:
    sizes = (norm.num_channels,) if isinstance(norm, nn.GroupNorm) else norm.normalized_shape
    setattr(norm, "affine" if isinstance(norm, nn.GroupNorm) else "elementwise_affine", affine)
    norm.weight = nn.Parameter(torch.ones(sizes)) if affine else None
    norm.bias = nn.Parameter(torch.zeros(sizes)) if affine else None
