"""Weights of three values."""

from typing import ClassVar, Literal

from pydantic import Field

from searcher.config.stages.base import LAST, Training


class Ternary(Training):
    """Train weights of three values a layer, zero and two learned scales (TTQ, Zhu et al. 2017).

    A weight is zero where it is at most `threshold` times the layer's largest. The network stays in floating
    point; no kernel here is faster for it.

    Attributes:
        exclude: The paths of modules whose weights stay as they are; where it is not given, the first and
            the last layer.
    """

    kind: Literal["ternary"] = "ternary"
    rank: ClassVar[int | None] = LAST
    optimizer: Literal["sgd", "adam"] = "adam"
    lr: float = Field(default=0.001, gt=0)
    threshold: float = Field(default=0.05, gt=0, lt=1)
    exclude: tuple[str, ...] | None = None

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        kept = f" but {' '.join(self.exclude)}" if self.exclude else ""
        return f"ternary weights{kept}"
