"""Unstructured pruning."""

from typing import ClassVar, Literal

from pydantic import Field

from searcher.config.stages.base import Training


class PruneWeights(Training):
    """Unstructured pruning: zero a share of the weights by magnitude; finetune after every step."""

    kind: Literal["prune_weights"] = "prune_weights"
    rank: ClassVar[int | None] = 1  # a training after it would fill the zeros
    off_at_zero: ClassVar[str | None] = "sparsity"
    sparsity: float = Field(gt=0, lt=1, description="share of the weights that is zero at the end")
    scope: Literal["global", "local"] = Field(
        default="global", description="one threshold for the network, or the same share of every layer"
    )
    steps: int = Field(default=1, ge=1, description="steps to that sparsity, each finetuned")

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        steps = f" in {self.steps} steps" if self.steps > 1 else ""
        return f"{self.sparsity:.1%} sparse ({self.scope}{steps})"
