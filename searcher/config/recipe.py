"""A recipe: one compression configuration, a model and an ordered list of stages."""

import functools
import hashlib
import json
import operator
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, Field, model_validator

from searcher.config.model import Frozen, Model
from searcher.config.stages.base import LAST, Stage, Training
from searcher.config.stages.distill import Distill
from searcher.config.stages.prune_channels import CRITERIA, PruneChannels
from searcher.config.stages.prune_weights import PruneWeights
from searcher.config.stages.quantize import Quantize
from searcher.config.stages.quantize_aware import QuantizeAware
from searcher.config.stages.ternary import Ternary
from searcher.config.stages.train import Train

__all__ = [
    "CRITERIA",
    "LAST",
    "STAGES",
    "Distill",
    "Model",
    "PruneChannels",
    "PruneWeights",
    "Quantize",
    "QuantizeAware",
    "Recipe",
    "Stage",
    "Ternary",
    "Train",
    "Training",
    "holds_recipes",
    "register",
]


class Recipe(Frozen):
    """A model and its stages, in the order in which they run."""

    model: Model
    stages: tuple[Stage, ...]

    @model_validator(mode="after")
    def _order(self) -> "Recipe":
        order: list[int] = []
        for stage in self.stages:
            # One without a rank has that of what comes before it, but cannot follow int8.
            last = min(order[-1], LAST - 1) if order else 0
            order.append(last if stage.rank is None else stage.rank)
        if order != sorted(order):
            kinds = ", ".join(stage.kind for stage in self.stages)
            raise ValueError(f"stages in the order {kinds}: a later stage would undo an earlier one")
        if order.count(LAST) > 1:
            kinds = ", ".join(stage.kind for stage in self.stages if stage.rank == LAST)
            raise ValueError(f"stages {kinds}: a network is quantized once")
        return self

    def words(self) -> str:
        """The recipe as a reader says it."""
        return "; ".join([self.model.words(), *(text for s in self.stages if (text := s.words()))])

    def digest(self, stages: int | None = None) -> str:
        """A name for the model with its first `stages` stages (all of them by default), 16 hex digits."""
        data = self.model_dump(mode="json")
        data["stages"] = data["stages"][:stages]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the recipe as TOML."""
        path.write_text(
            tomli_w.dumps({"recipe": self.model_dump(mode="json", exclude_none=True)}), encoding="utf-8"
        )


STAGES: dict[str, type[Stage]] = {}
"""Every kind of stage that a recipe may have, by name."""

_HOLDERS: list[type[BaseModel]] = [Recipe]


def register(*stages: type[Stage]) -> None:
    """Let recipes have further kinds of stages; each has a default for its `kind`, a `Literal`."""
    STAGES.update({stage.model_fields["kind"].default: stage for stage in stages})
    every: Any = functools.reduce(operator.or_, STAGES.values())
    Recipe.model_fields["stages"].annotation = tuple[Annotated[every, Field(discriminator="kind")], ...]
    for holder in _HOLDERS:
        holder.model_rebuild(force=True)


def holds_recipes(model: type[BaseModel]) -> None:
    """Have a model that holds recipes know the stages that are registered from now on."""
    _HOLDERS.append(model)


register(Train, Distill, PruneChannels, PruneWeights, Quantize, QuantizeAware, Ternary)
