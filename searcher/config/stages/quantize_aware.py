"""Training with quantization in the network."""

from typing import Literal

from pydantic import Field

from searcher.config.stages.base import Training, added
from searcher.config.stages.int8 import Int8


class QuantizeAware(Int8, Training):
    """Train the network as it will be executed, in codes whose steps are learned (LSQ, Esser et al. 2020).

    Norms are folded before: a rate of 0.01, which a network with norms would bear, makes a ResNet-20 guess.
    """

    kind: Literal["quantize_aware"] = "quantize_aware"
    lr: float = Field(default=0.001, gt=0, description="largest learning rate")
    observer: Literal["minmax", "moving_average", "histogram", "percentile"] = added(
        "histogram", description="of the range of activations that training begins with"
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"{self.codes()} trained{self.calibrated()}{self.kept()}"
