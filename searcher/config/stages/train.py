"""Training on the labels."""

from typing import Literal

from pydantic import Field

from searcher.config.stages.base import Training


class Train(Training):
    """Train on the labels."""

    kind: Literal["train"] = "train"
    mixup: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="alpha of the Beta distribution by which images are mixed (Zhang et al. 2018); 0 is off",
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return ", ".join(self.techniques())
