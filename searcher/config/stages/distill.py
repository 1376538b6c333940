"""Training on the outputs of a teacher as well."""

from typing import Literal

from pydantic import Field

from searcher.config.model import Model
from searcher.config.stages.base import Training
from searcher.config.stages.teaching import Teaching


class Distill(Training, Teaching):
    """Train on the labels and on a teacher's softened outputs (Hinton et al. 2015)."""

    kind: Literal["distill"] = "distill"
    teacher: Model = Field(
        description="the model of the teacher: `name`, `args`, `weights`; or a recipe's file, which is read"
    )

    def words(self) -> str:
        """The stage as a reader says it; empty where it goes without saying."""
        return ", ".join([self.learned(), *self.techniques()])

    def models(self) -> list[Model]:
        """The teacher, and the models of its stages."""
        return Teaching.models(self)
