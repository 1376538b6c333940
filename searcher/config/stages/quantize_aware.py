"""Training with quantization in the network."""

from typing import Literal

from pydantic import Field, model_validator

from searcher.config.stages.base import added
from searcher.config.stages.int8 import Int8
from searcher.config.stages.teaching import Taught


class QuantizeAware(Int8, Taught):
    """Train the network as it will be executed, in codes whose steps are learned (LSQ, Esser et al. 2020).

    Norms are folded before: a rate of 0.01, which a network with norms would bear, makes a ResNet-20 guess.
    """

    kind: Literal["quantize_aware"] = "quantize_aware"
    lr: float = Field(default=0.001, gt=0, description="largest learning rate")
    observer: Literal["minmax", "moving_average", "histogram", "percentile"] = added(
        "histogram", description="of the range of activations that training begins with"
    )

    @model_validator(mode="after")
    def _has_no_blocks(self) -> "QuantizeAware":
        if self.teaching and (self.teaching.features or self.teaching.attention):
            raise ValueError(
                "teaching: features and attention are of layers, and what is trained in codes is a graph of "
                "operations; its outputs can be taught"
            )
        return self

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        trained = f"{self.codes()} trained{self.calibrated()}{self.kept()}"
        return ", ".join([trained, *self.techniques()])
