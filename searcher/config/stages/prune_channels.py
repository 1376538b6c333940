"""Structured pruning."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from searcher.config.stages.base import added
from searcher.config.stages.pruning import Pruning
from searcher.errors import nearest

CRITERIA = ["l1", "l2", "fpgm", "random", "activation", "bn_scale", "taylor"]
"""The names of all criteria by which channels are pruned."""

NOT_NNIS = ("bn_scale",)
"""Those that engine torch-pruning alone has."""


def _known_criterion(name: str) -> str:
    if name not in CRITERIA:
        raise ValueError(f"no criterion named {name!r}{nearest(name, CRITERIA)}")
    return name


Ratio = Annotated[float, Field(ge=0, lt=1)]


class PruneChannels(Pruning):
    """Structured pruning: remove a ratio of the channels, the tensors get smaller; then finetune.

    `ratios` has other ratios than `ratio` for the convolutions inside of modules, by their paths; of a module
    inside another the inner one counts, and layers that must lose the same channels lose the least that one
    of them is to. With `scope` global the ratio is of all the layers together, and the criterion says which
    layer loses how many. What is left of a layer is a multiple of `round_to`. The channels are removed in
    `steps` as large as each other, with finetuning after each.
    """

    kind: Literal["prune_channels"] = "prune_channels"
    off_at_zero: ClassVar[str | None] = "ratio"
    ratio: Ratio = Field(description="share of the channels that is removed")
    criterion: Annotated[str, AfterValidator(_known_criterion)] = Field(
        default="l1", description="[the criterion](#criteria) by which they are chosen"
    )
    engine: Literal["torch-pruning", "nni"] = Field(
        default="torch-pruning", description="the library that removes them"
    )
    scope: Literal["local", "global"] = added(
        "local", description="of every layer alike, or of all layers together"
    )
    ratios: dict[str, Ratio] = added({}, description="other ratios, by the path of a module")
    round_to: int = added(1, ge=1, description="what is left of a layer is a multiple of it")
    steps: int = added(1, ge=1, description="removals as large as each other, with finetuning after each")

    @model_validator(mode="after")
    def _fits(self) -> "PruneChannels":
        if not any([self.ratio, *self.ratios.values()]):
            raise ValueError("a ratio of 0 removes nothing: it should be above 0, or one in ratios")
        if self.scope == "global" and self.ratios:
            raise ValueError(
                "ratios are of scope local: with global the criterion says which layer loses what"
            )
        if self.engine == "nni" and self.scope == "global":
            raise ValueError("scope global is engine torch-pruning's")
        if self.engine == "nni" and self.criterion in NOT_NNIS:
            raise ValueError(f"criterion {self.criterion} is engine torch-pruning's")
        return self

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        places = [f"{name} -{ratio:.0%}" for name, ratio in self.ratios.items()]
        how = ["global"] if self.scope == "global" else []
        how += [self.criterion]
        how += [f"multiples of {self.round_to}"] if self.round_to > 1 else []
        how += [f"{self.steps} steps"] if self.steps > 1 else []
        how += self.aftermath()
        places = [f"-{self.ratio:.0%}", *places] if self.ratio else places
        pruned = f"channels {', '.join(places)} ({', '.join([*how, self.engine])})"
        return ", ".join([pruned, *self.techniques()])
