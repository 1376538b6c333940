"""What a stage that prunes does with the weights that are left."""

from typing import Literal

from pydantic import model_validator

from searcher.config.stages.base import added
from searcher.config.stages.teaching import Taught


class Pruning(Taught):
    """A stage that prunes, then trains what is left.

    After each step the weights that are left go on from their values (`finetune`), from those with which the
    recipe began (`rewind`, the lottery ticket of Frankle and Carbin 2019), or from random ones of another
    draw (`reinitialize`). With `rewind_to` they go on from those after that part of the recipe's first
    training.
    """

    after: Literal["finetune", "rewind", "reinitialize"] = added(
        "finetune", description="the weights from which what is left is trained on"
    )
    rewind_to: float = added(
        0.0, ge=0, lt=1, description="of rewind, the share of the first training after which they are taken"
    )

    @model_validator(mode="after")
    def _rewinds(self) -> "Pruning":
        if self.rewind_to and self.after != "rewind":
            raise ValueError(f"rewind_to is of after rewind, not of {self.after}")
        return self

    def aftermath(self) -> list[str]:
        """What is done with the weights that are left, as a reader says it."""
        if self.after == "rewind":
            return [f"rewound to {self.rewind_to:.0%}" if self.rewind_to else "rewound"]
        return ["reinitialized"] if self.after == "reinitialize" else []
