"""Training on the outputs of a teacher as well."""

from typing import Literal

from pydantic import Field

from searcher.config.model import Model
from searcher.config.stages.base import Training
from searcher.config.stages.train import Train


class Distill(Training):
    """Train on the labels and on a teacher's softened outputs (Hinton et al. 2015)."""

    kind: Literal["distill"] = "distill"
    teacher: Model = Field(description="the model of the teacher: `name`, `args`, `weights`")
    teacher_training: Train = Field(
        default=Train(), description="the parameters of `train` by which the teacher is trained first"
    )
    temperature: float = Field(default=4.0, gt=0, description="by which both outputs are softened")
    weight: float = Field(default=0.5, ge=0, le=1, description="share of the teacher's loss in the whole")

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return f"distilled from {self.teacher.words()}"

    def models(self) -> list[Model]:
        """The teacher."""
        return [self.teacher]
