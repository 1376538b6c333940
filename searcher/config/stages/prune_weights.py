"""Unstructured pruning."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from searcher.config.stages.base import added
from searcher.config.stages.pruning import Pruning


class PruneWeights(Pruning):
    """Unstructured pruning: zero a share of the weights in steps; finetune after every step.

    With `pattern` "4x1" four neighbouring output channels of an input weight are zeroed together; with "2:4"
    it is two of each four neighbouring input channels. A layer of which the four do not come out even stays
    dense, and the share is that of the others. Weights go by their magnitude; or by their movement while they
    are trained (Sanh et al. 2020), with a training before the first step.
    """

    kind: Literal["prune_weights"] = "prune_weights"
    rank: ClassVar[int | None] = 1  # a training after it would fill the zeros
    off_at_zero: ClassVar[str | None] = "sparsity"
    sparsity: float = Field(gt=0, lt=1, description="share of the weights that is zero at the end")
    scope: Literal["global", "local"] = Field(
        default="global", description="one threshold for the network, or the same share of every layer"
    )
    steps: int = Field(default=1, ge=1, description="steps to that sparsity, each finetuned")
    layers: Literal["all", "convolutions"] = added("all", description="layers that lose weights")
    pattern: Literal["single", "4x1", "2:4"] = added(
        "single",
        description="one by one, four outputs of an input together, or two in each four inputs",
    )
    criterion: Literal["magnitude", "movement"] = added(
        "magnitude", description="the smallest weights go, or those that training moves towards zero"
    )

    @model_validator(mode="after")
    def _fits(self) -> "PruneWeights":
        if self.pattern == "2:4" and (self.sparsity != 0.5 or self.steps > 1):
            raise ValueError("pattern 2:4 is a sparsity of 0.5, in one step")
        if self.criterion == "movement" and self.precision == "fp16":
            raise ValueError("criterion movement adds up gradients, which precision fp16 scales")
        return self

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        how: list[str] = ["2:4" if self.pattern == "2:4" else self.scope]
        how += ["convolutions"] if self.layers == "convolutions" else []
        how += ["4x1"] if self.pattern == "4x1" else []
        how += [self.criterion] if self.criterion != "magnitude" else []
        how += self.aftermath()
        steps = f" in {self.steps} steps" if self.steps > 1 else ""
        pruned = f"{self.sparsity:.1%} sparse ({', '.join(how)}{steps})"
        return ", ".join([pruned, *self.techniques()])
