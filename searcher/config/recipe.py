"""A recipe: one compression configuration, a model and an ordered list of stages."""

import functools
import hashlib
import json
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, Field, model_validator

from searcher.config.model import Frozen, Model
from searcher.config.stages.base import LAST, Stage, Training
from searcher.config.stages.distill import Distill
from searcher.config.stages.low_rank import LowRank
from searcher.config.stages.prune_channels import CRITERIA, NOT_NNIS, PruneChannels
from searcher.config.stages.prune_weights import PruneWeights
from searcher.config.stages.pruning import Pruning
from searcher.config.stages.quantize import Quantize
from searcher.config.stages.quantize_aware import QuantizeAware
from searcher.config.stages.teaching import Teaching, teaching_of
from searcher.config.stages.ternary import Ternary
from searcher.config.stages.train import Train

__all__ = [
    "CRITERIA",
    "LAST",
    "NOT_NNIS",
    "STAGES",
    "Distill",
    "LowRank",
    "Model",
    "PruneChannels",
    "PruneWeights",
    "Quantize",
    "QuantizeAware",
    "Recipe",
    "Stage",
    "Teaching",
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
    def _fits(self) -> "Recipe":
        _check(self.stages)
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


def _check(stages: Sequence[Stage]) -> None:
    """Raises ValueError where stages cannot come one after another, a teacher's among them."""
    for stage in stages:
        if teaching := teaching_of(stage):
            _check(teaching.made_by())
    _check_order(stages)
    for place, stage in enumerate(stages):
        if isinstance(stage, Pruning) and stage.after != "finetune":
            _check_way_back(stage, stages[:place])


def _check_order(stages: Sequence[Stage]) -> None:
    order: list[int] = []
    for stage in stages:
        # One without a rank has that of what comes before it, but cannot follow int8.
        last = min(order[-1], LAST - 1) if order else 0
        order.append(last if stage.rank is None else stage.rank)
    if order != sorted(order):
        kinds = ", ".join(stage.kind for stage in stages)
        raise ValueError(f"stages in the order {kinds}: a later stage would undo an earlier one")
    if order.count(LAST) > 1:
        kinds = ", ".join(stage.kind for stage in stages if stage.rank == LAST)
        raise ValueError(f"stages {kinds}: a network is quantized once")


def _check_way_back(stage: Pruning, before: Sequence[Stage]) -> None:
    other = next((s.kind for s in before if not isinstance(s, Train | Distill)), None)
    if other:
        raise ValueError(
            f"{stage.kind} with after {stage.after}: the weights that a recipe begins with do not "
            f"fit what {other} makes of the network before it"
        )
    if stage.rewind_to and not before:
        raise ValueError(f"{stage.kind} with rewind_to: no training is before it")


STAGES: dict[str, type[Stage]] = {}
"""Every kind of stage that a recipe may have, by name."""

_HOLDERS: list[type[BaseModel]] = [Recipe]


def register(*stages: type[Stage]) -> None:
    """Let recipes have further kinds of stages; each has a default for its `kind`, a `Literal`."""
    STAGES.update({stage.model_fields["kind"].default: stage for stage in stages})
    every: Any = functools.reduce(operator.or_, STAGES.values())
    held: Any = tuple[Annotated[every, Field(discriminator="kind")], ...]
    Recipe.model_fields["stages"].annotation = held
    holders: list[type[BaseModel]] = [Teaching, *STAGES.values(), *_HOLDERS]
    for holder in holders:
        if issubclass(holder, Teaching):
            holder.model_fields["teacher_stages"].annotation = held
        # Each would take the others' schemas of before, with all that is in them, again and again.
        if "__pydantic_core_schema__" in vars(holder):
            del holder.__pydantic_core_schema__
    for holder in holders:
        holder.model_rebuild(force=True)


def holds_recipes(model: type[BaseModel]) -> None:
    """Have a model that holds recipes know the stages that are registered from now on."""
    _HOLDERS.append(model)


register(Train, Distill, LowRank, PruneChannels, PruneWeights, Quantize, QuantizeAware, Ternary)
