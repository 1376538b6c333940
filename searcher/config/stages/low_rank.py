"""Factorization at a low rank."""

from typing import Literal

from pydantic import Field, model_validator

from searcher.config.stages.teaching import Taught


class LowRank(Taught):
    """Factorize convolutions and linear layers at a low rank, then finetune.

    A convolution becomes three by `tucker`, 1×1, k×k and 1×1 (Kim et al. 2016), or two by `spatial`, k×1 and
    1×k (Jaderberg et al. 2014); one of 1×1, and a linear layer, becomes two. What would get no smaller stays
    as it is.
    """

    kind: Literal["low_rank"] = "low_rank"
    ratio: float | None = Field(default=None, gt=0, lt=1, description="share of the full rank that is kept")
    energy: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="in its place, share of the squared singular values that the least rank keeps",
    )
    method: Literal["tucker", "spatial"] = Field(
        default="tucker", description="how a convolution is factorized: 1×1, k×k, 1×1, or k×1, 1×k"
    )
    layers: tuple[str, ...] = Field(
        default=(), description="layers, or blocks, that are factorized; all where there is none"
    )

    @model_validator(mode="after")
    def _one_rule(self) -> "LowRank":
        if (self.ratio is None) == (self.energy is None):
            raise ValueError("low_rank: expected either ratio or energy, which decides the ranks")
        return self

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        rank = f"{self.energy:.1%} of the energy" if self.energy else f"{self.ratio:.0%} of the rank"
        where = f" of {' '.join(self.layers)}" if self.layers else ""
        return ", ".join([f"{rank}{where} ({self.method})", *self.techniques()])
