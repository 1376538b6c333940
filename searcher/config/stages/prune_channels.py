"""Structured pruning."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from searcher.config.stages.base import Training
from searcher.errors import nearest

CRITERIA = ["l1", "l2", "fpgm", "random", "activation"]
"""The names of all criteria by which channels are pruned."""


def _known_criterion(name: str) -> str:
    if name not in CRITERIA:
        raise ValueError(f"no criterion named {name!r}{nearest(name, CRITERIA)}")
    return name


class PruneChannels(Training):
    """Structured pruning: remove a ratio of the channels, the tensors get smaller; then finetune."""

    kind: Literal["prune_channels"] = "prune_channels"
    off_at_zero: ClassVar[str | None] = "ratio"
    ratio: float = Field(gt=0, lt=1, description="share of the channels that is removed")
    criterion: Annotated[str, AfterValidator(_known_criterion)] = Field(
        default="l1", description="[the criterion](#criteria) by which they are chosen"
    )
    engine: Literal["torch-pruning", "nni"] = Field(
        default="torch-pruning", description="the library that removes them"
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"channels -{self.ratio:.0%} ({self.criterion}, {self.engine})"
