"""A model as recipes and studies name it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from searcher.config import given


class Frozen(BaseModel):
    """A value: it does not change, takes no key that it does not know, and no number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Model(Frozen):
    """A model family's member: the family's name and its arguments."""

    name: str = Field(description="[a model](#models), `pkg.mod:function`, `timm:NAME` or `torchvision:NAME`")
    args: dict[str, Any] = Field(default_factory=dict, description="its own arguments")
    weights: str | None = Field(
        default=None,
        description="weights to begin with, a file: safetensors, or a state dict of `torch.save`",
    )

    @property
    def pretrained(self) -> bool:
        """Whether it begins with weights that were trained: those of a file, or a library's own."""
        return bool(self.weights or self.args.get("pretrained"))

    @property
    def called(self) -> str:
        """The family as a reader says it."""
        return given.called(self.name)

    def without_weights(self) -> "Model":
        """The same model with random weights."""
        args = {key: value for key, value in self.args.items() if key != "pretrained"}
        return self.model_copy(update={"weights": None, "args": args})

    def words(self) -> str:
        """The family and its arguments; what is off goes without saying."""
        on = {key: value for key, value in self.args.items() if value and not _ungrouped(key, value)}
        return " ".join([self.called, *(_argument(key, value) for key, value in on.items())])


def _ungrouped(key: str, value: object) -> bool:
    return key.startswith("groups") and value == 1


def _argument(key: str, value: object) -> str:
    key = {"growth_rate": "k"}.get(key, key)
    if value is True:
        return key
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{key}={value}"
