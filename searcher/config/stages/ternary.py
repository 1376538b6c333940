"""Weights of three values."""

from typing import ClassVar, Literal

from pydantic import Field

from searcher.config.stages.base import LAST, Optimizers
from searcher.config.stages.teaching import Taught


class Ternary(Taught):
    """Train weights of three values a layer, zero and two learned scales (TTQ, Zhu et al. 2017).

    The network stays in floating point; no kernel here is faster for it.
    """

    kind: Literal["ternary"] = "ternary"
    rank: ClassVar[int | None] = LAST
    optimizer: Optimizers = Field(
        default="adam", description="SGD with Nesterov momentum, Adam, or AdamW (Loshchilov & Hutter 2019)"
    )
    lr: float = Field(default=0.001, gt=0, description="largest learning rate")
    threshold: float = Field(
        default=0.05, gt=0, lt=1, description="share of the layer's largest weight at which one is zero"
    )
    exclude: tuple[str, ...] | None = Field(
        default=None, description="modules whose weights stay as they are; first and last layer by default"
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        kept = f" but {' '.join(self.exclude)}" if self.exclude else ""
        return ", ".join([f"ternary weights{kept}", *self.techniques()])
