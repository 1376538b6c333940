"""A teacher, and what is learned from it."""

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from searcher.config.model import Frozen, Model
from searcher.config.stages.base import LAST, Stage, Training, added
from searcher.config.stages.train import Train
from searcher.config.toml import read_toml
from searcher.errors import SearcherError


class Teaching(Frozen):
    """A teacher of a training, and what is learned from it beside the labels.

    A teacher is a model with what makes it: its own training, or all the stages of a recipe but the one that
    quantizes or makes weights ternary; with weights that were trained neither is needed. Where a file is
    given instead of a model, it is that of a recipe, which is read here. A stage of a teacher may have a
    teacher itself.
    """

    teacher: Model | None = Field(
        default=None,
        description="the model of the teacher: `name`, `args`, `weights`; or a recipe's file, which is read; "
        "where there is none, the network teaches as the stage finds it",
    )
    teacher_training: Train | None = Field(
        default=None,
        description="the parameters of `train` by which the teacher is trained first; as usual where it has "
        "no weights and no stages",
    )
    teacher_stages: tuple[Stage, ...] = added((), description="the stages that make the teacher instead")
    temperature: float = Field(default=4.0, gt=0, description="by which both outputs are softened")
    weight: float = Field(default=0.5, ge=0, le=1, description="share of the teacher's loss in the whole")
    features: dict[str, str] = added(
        {},
        description="of layers of the network those of the teacher whose outputs they are to have, behind a "
        "projection that is trained along (Romero et al. 2015)",
    )
    features_weight: float = added(1.0, ge=0, description="weight of the mean square of their differences")
    attention: dict[str, str] = added(
        {},
        description="of layers of the network those of the teacher with whose attention they are to look "
        "(Zagoruyko & Komodakis 2017)",
    )
    attention_weight: float = added(
        1000.0, ge=0, description="weight of the mean square of the differences of these maps"
    )
    views: int = added(
        0,
        ge=0,
        description="so many fixed views of every image are made and seen by the teacher once, and every "
        "epoch takes one of them; 0 makes them anew in each step",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_a_file(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("teacher"), str | Path):
            return given
        path = Path(given["teacher"]).expanduser()
        recipe = read_toml(path).get("recipe")
        if not isinstance(recipe, dict) or not {"model", "stages"} <= recipe.keys():
            raise SearcherError(f"teacher {path}: is no recipe: it has no [recipe] with a model and stages")
        return given | {"teacher": recipe["model"], "teacher_stages": recipe["stages"]}

    @model_validator(mode="after")
    def _fits(self) -> "Teaching":
        if self.teacher_training and self.teacher_stages:
            raise ValueError("teacher_training and teacher_stages: a teacher is made by one of them")
        if self.teacher is None and (self.teacher_training or self.teacher_stages):
            raise ValueError("teacher: missing; the network itself is not trained to teach")
        if self.views and (self.features or self.attention):
            raise ValueError("views: the teacher's outputs are kept, and not those of its layers")
        return self

    @model_validator(mode="after")
    def _is_made(self) -> "Teaching":
        given = self.teacher_training or self.teacher_stages
        if self.teacher and not given and not self.teacher.pretrained:
            object.__setattr__(self, "teacher_training", Train())  # which is told, then
        return self

    def made_by(self) -> tuple[Stage, ...]:
        """The stages that make the teacher."""
        return (self.teacher_training,) if self.teacher_training else self.teacher_stages

    def models(self) -> list[Model]:
        """The teacher, and the models of its stages."""
        own = [self.teacher] if self.teacher else []
        return own + [model for stage in self.teacher_stages for model in stage.models()]

    def learned(self) -> str:
        """The teacher and what is learned from it, as a reader says it."""
        parts = [name for name in ("features", "attention") if getattr(self, name)]
        views = [f"{self.views} views"] if self.views else []
        return ", ".join([f"distilled from {self._teacher_words()}", *parts, *views])

    def _teacher_words(self) -> str:
        if self.teacher is None:
            return "itself"
        stages = (stage for stage in self.teacher_stages if stage.rank != LAST)
        made = "; ".join(words for stage in stages if (words := stage.words()))
        return f"{self.teacher.words()} ({made})" if made else self.teacher.words()


class Taught(Training):
    """A stage that trains on the outputs of a teacher as well, where it has one."""

    teaching: Teaching | None = added(
        None, description="a teacher of the finetuning: a table with the keys of `distill` that are about it"
    )

    def techniques(self) -> list[str]:
        """What is on, beside the usual, as a reader says it."""
        return super().techniques() + ([self.teaching.learned()] if self.teaching else [])

    def models(self) -> list[Model]:
        """The teacher, and the models of its stages."""
        return self.teaching.models() if self.teaching else []


def teaching_of(stage: Stage) -> Teaching | None:
    """The teacher of a stage; None where it has none."""
    if isinstance(stage, Teaching):
        return stage
    return stage.teaching if isinstance(stage, Taught) else None
