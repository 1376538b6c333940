"""A finished network: its architecture and what is executed of it."""

from dataclasses import dataclass

from torch import nn

from searcher.compression.engines.dynamic import Dynamic
from searcher.compression.engines.fx import Execution, execution
from searcher.compression.engines.fx_reference import Prepared


@dataclass(frozen=True)
class Network:
    """A finished model.

    Attributes:
        architecture: The model in floating point.
        executed: What is executed: the same, or int8.
        prepared: What the int8 model was converted from, or how it is in dynamic int8.
    """

    architecture: nn.Module
    executed: nn.Module
    prepared: Prepared | Dynamic | None = None

    @property
    def execution(self) -> Execution | None:
        """In what an int8 network is executed; None of one in floating point."""
        return self.prepared.execution if isinstance(self.prepared, Dynamic) else execution(self.executed)


def floating(model: nn.Module) -> Network:
    """A network that is executed as it is."""
    return Network(model, model)
