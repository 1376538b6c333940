"""A stage's runner: all that the pipeline, predictions, the store and exports ask of a kind of stage."""

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from torch import nn

from searcher.compression.network import Network
from searcher.compression.outlined import Outlined
from searcher.compression.training import Run
from searcher.config.recipe import Stage, Training
from searcher.config.stages.pruning import Pruning

S = TypeVar("S", bound=Stage)

EXACT = 1e-6
"""The share by which a counted figure may be off when a recipe is trained again."""


class Runner(ABC, Generic[S]):
    """Executes, predicts and stores one kind of stage.

    Attributes:
        version: Of its code: a new number where it makes another network than before.
        stored: Whether the store holds what it makes: a network in floating point.
        compresses: Whether the network is another one after it; False for a stage that only trains.
        tolerance: The share by which counted figures may be off when the recipe is trained again.
    """

    version: ClassVar[int] = 1
    stored: ClassVar[bool] = True
    compresses: ClassVar[bool] = True
    tolerance: ClassVar[float] = EXACT

    @abstractmethod
    def run(self, model: nn.Module, stage: S, run: Run) -> Network:
        """The network after the stage.

        Args:
            model: The network in floating point, which may be changed.
            stage: The stage.
            run: Task, budget, seed, device and store.

        Raises:
            TrialError: The stage could not be executed as asked.
        """

    def predict(self, outlined: Outlined, stage: S) -> None:
        """Change the rows that are predicted as the stage will change those that are executed.

        A stage that is not stored leaves the model's modules as they are: other predictions share them.

        Raises:
            NotCertain: They cannot be told with certainty.
            TrialError: The stage could not be executed.
        """

    def untrained(self, stage: S) -> Stage | None:
        """The stage for a network that is not trained; None where it does nothing but train."""
        if not self.compresses:
            return None
        if not isinstance(stage, Training):
            return stage
        as_it_is = {"after": "finetune", "rewind_to": 0.0} if isinstance(stage, Pruning) else {}
        return stage.model_copy(update={"share": 0.0, **as_it_is})

    def tolerance_of(self, stage: S) -> float:
        """The share by which counted figures may be off when this stage is trained again."""
        return self.tolerance

    def zeros_tolerance(self, stage: S, tensors: int, weights: int) -> float | None:
        """The difference of zeros from the prediction that is allowed; None where it makes no zeros."""
        return None
