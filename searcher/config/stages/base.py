"""A stage of a recipe, and one that trains."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from searcher.config.model import Frozen, Model

LAST = 2
"""The rank of stages after which a network is no longer in floating point."""


def added(default: Any, **limits: Any) -> Any:
    """A field that came after recipes were stored: one dumps it only where it is not at its default.

    So the digests of the recipes that did without, and all that is stored under them, stay as they were. A
    default that changes is another arithmetic: it needs a new `version` of the stage's runner.

    Args:
        default: Its value where a recipe says nothing.
        limits: As pydantic's `Field` takes them.
    """
    return Field(default=default, exclude_if=lambda value: value == default, **limits)


class Stage(Frozen):
    """One step of a recipe; its `kind` is the name under which it is registered.

    Attributes:
        rank: A recipe's stages come in the order of their ranks: 0; 1, after which nothing may fill zeros;
            `LAST` for int8. One without a rank may come anywhere before int8.
        off_at_zero: A parameter whose value 0 would leave the network as it is, in a sweep.
    """

    kind: str
    rank: ClassVar[int | None] = 0
    off_at_zero: ClassVar[str | None] = None

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return self.kind.replace("_", " ")

    def models(self) -> list[Model]:
        """Models that the stage trains beside the recipe's own."""
        return []


class Training(Stage):
    """A stage that trains.

    It spends a share of the study's epochs, so that one recipe serves a cheap search and a full retraining.
    """

    share: float = Field(
        default=1.0, ge=0, le=10, description="part of the study's epochs that the stage spends"
    )
    optimizer: Literal["sgd", "adam"] = Field(
        default="sgd", description="SGD with Nesterov momentum, or Adam"
    )
    lr: float = Field(default=0.1, gt=0, description="largest learning rate")
    weight_decay: float = Field(default=5e-4, ge=0, description="decay of the weights a step")
    batch_size: int = Field(default=128, ge=1, description="images a step")
