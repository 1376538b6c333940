"""A recipe: one compression configuration, a model and an ordered list of stages."""

import functools
import hashlib
import json
import operator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from searcher.errors import nearest


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Model(_Frozen):
    """A model family's member: the family's name and its arguments.

    `weights` is a file to begin with instead of random weights: safetensors, or what ``torch.save`` has made
    of a state dict.
    """

    name: str
    args: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None

    @property
    def pretrained(self) -> bool:
        """Whether it begins with weights that were trained: those of a file, or a library's own."""
        return bool(self.weights or self.args.get("pretrained"))

    def without_weights(self) -> "Model":
        """The same model with random weights."""
        args = {key: value for key, value in self.args.items() if key != "pretrained"}
        return self.model_copy(update={"weights": None, "args": args})

    def words(self) -> str:
        """The family and its arguments; what is off goes without saying."""
        on = {key: value for key, value in self.args.items() if value and not _ungrouped(key, value)}
        return " ".join([self.name, *(_argument(key, value) for key, value in on.items())])


def _ungrouped(key: str, value: object) -> bool:
    return key.startswith("groups") and value == 1


def _argument(key: str, value: object) -> str:
    key = {"growth_rate": "k"}.get(key, key)
    if value is True:
        return key
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{key}={value}"


LAST = 2
"""The rank of stages after which a network is no longer in floating point."""


class Stage(_Frozen):
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

    `share` is the part of the study's epoch budget that this stage spends, so that one recipe serves a
    cheap search and a full retraining.
    """

    share: float = Field(default=1.0, ge=0, le=10)
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    batch_size: int = Field(default=128, ge=1)


class Train(Training):
    """Train on the labels. `mixup` is the alpha of the Beta distribution (Zhang et al. 2018), 0 is off."""

    kind: Literal["train"] = "train"
    mixup: float = Field(default=0.0, ge=0, le=1)

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"mixup {self.mixup:.2f}" if self.mixup else ""


class Distill(Training):
    """Train on the labels and on a teacher's softened outputs (Hinton et al. 2015).

    The teacher is trained by `teacher_training` first. `weight` is the share of the distillation loss.
    """

    kind: Literal["distill"] = "distill"
    teacher: Model
    teacher_training: Train = Train()
    temperature: float = Field(default=4.0, gt=0)
    weight: float = Field(default=0.5, ge=0, le=1)

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"distilled from {self.teacher.words()}"

    def models(self) -> list[Model]:
        """The teacher."""
        return [self.teacher]


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
    ratio: float = Field(gt=0, lt=1)
    criterion: Annotated[str, AfterValidator(_known_criterion)] = "l1"
    engine: Literal["torch-pruning", "nni"] = "torch-pruning"

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"channels -{self.ratio:.0%} ({self.criterion}, {self.engine})"


class PruneWeights(Training):
    """Unstructured pruning: zero a share of the weights by magnitude; finetune after every step."""

    kind: Literal["prune_weights"] = "prune_weights"
    rank: ClassVar[int | None] = 1  # a training after it would fill the zeros
    off_at_zero: ClassVar[str | None] = "sparsity"
    sparsity: float = Field(gt=0, lt=1)
    scope: Literal["global", "local"] = "global"
    steps: int = Field(default=1, ge=1)

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        steps = f" in {self.steps} steps" if self.steps > 1 else ""
        return f"{self.sparsity:.1%} sparse ({self.scope}{steps})"


class Quantize(Stage):
    """int8 post-training static quantization; `exclude` maps a module to the width kept there, in bits."""

    kind: Literal["quantize"] = "quantize"
    rank: ClassVar[int | None] = LAST
    exclude: dict[str, Literal[16, 32]] = Field(default_factory=dict)
    calibration_images: int = Field(default=512, ge=1)

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        kept = [
            f"{' '.join(names)} in {bits} bits"
            for bits in (16, 32)
            if (names := [name for name, width in self.exclude.items() if width == bits])
        ]
        return f"int8 but {', '.join(kept)}" if kept else "int8"


class Recipe(_Frozen):
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


register(Train, Distill, PruneChannels, PruneWeights, Quantize)
