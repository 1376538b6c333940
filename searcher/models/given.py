"""A model that Python code was given: a network, of which copies are made, or a function that builds one."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from searcher.config import given


def family(name: str) -> Callable[..., nn.Module]:
    """The function that builds a given model, or copies it.

    Raises:
        SearcherError: It cannot be loaded.
    """
    found = given.load(name)
    if not isinstance(found, nn.Module):
        return found  # type: ignore[no-any-return]

    def copied() -> nn.Module:
        return copy.deepcopy(found, _without_values(found) if _on_meta() else {})

    return copied


def _on_meta() -> bool:
    """Whether what is built now is built for its shapes alone."""
    return torch.get_default_device().type == "meta"


def _without_values(network: nn.Module) -> dict[int, Tensor]:
    """What stands in a copy in the place of each tensor, so that one with several names stays one."""
    parameters = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in network.parameters()}
    return parameters | {id(buffer): buffer.to("meta") for buffer in network.buffers()}
