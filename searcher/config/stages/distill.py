"""Training on the outputs of a teacher as well."""

from typing import Literal

from pydantic import Field

from searcher.config.model import Model
from searcher.config.stages.base import Training
from searcher.config.stages.train import Train


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
