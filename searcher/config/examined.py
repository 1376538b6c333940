"""A study's model as a space sees it: its blocks, and the stages that can be done with it."""

from pydantic import BaseModel, ConfigDict, Field

from searcher.config.recipe import Model


class Examined(BaseModel):
    """What was found of a model before a search, on the network without its weights.

    Attributes:
        model: The model, as the study has it.
        whole: Whether its weights are trained for all of its layers: it can be measured as it came.
        batch_size: The images of a training's step that suit the task.
        blocks: The paths of the modules of each block, by its name, in the order of the network.
        refused: Why a stage cannot be done, by its kind, or by its kind with an engine or a scope.
        kept_out: Why a block cannot be in int8, where the others can.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Model
    whole: bool = False
    batch_size: int = Field(default=128, ge=1)
    blocks: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    kept_out: dict[str, str] = Field(default_factory=dict)

    def can(self, kind: str) -> bool:
        """Whether a stage can be done: ``quantize``, ``prune_channels nni``."""
        return kind not in self.refused

    def ways(self, kind: str, every: tuple[str, ...]) -> list[str]:
        """The engines or scopes in which a stage can be done."""
        return [way for way in every if self.can(f"{kind} {way}")]

    def left_out(self) -> list[str]:
        """A line for each thing that cannot be done, and why."""
        stages = [f"{stage}: {reason}" for stage, reason in self.refused.items()]
        return stages + [f"{block} in int8: {reason}" for block, reason in self.kept_out.items()]
