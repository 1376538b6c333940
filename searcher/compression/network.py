"""A finished network: its architecture and what is executed of it."""

from dataclasses import dataclass

from torch import nn

from searcher.compression.engines.fx_reference import Prepared


@dataclass(frozen=True)
class Network:
    """A finished model.

    Attributes:
        architecture: The model in floating point.
        executed: What is executed: the same, or int8.
        prepared: What the int8 model was converted from.
    """

    architecture: nn.Module
    executed: nn.Module
    prepared: Prepared | None = None


def floating(model: nn.Module) -> Network:
    """A network that is executed as it is."""
    return Network(model, model)
