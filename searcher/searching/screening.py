"""Predicts a recipe's cost before any training; rejects what is infeasible or was tried before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from searcher import tasks
from searcher.compression.cached import first
from searcher.compression.predict import predict
from searcher.compression.stages import stored_stages
from searcher.compression.training import epochs_of
from searcher.config.metric import Constraint
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.costs.op import Op, Prediction
from searcher.errors import SearcherError, TrialError
from searcher.execution.measurement import from_rows, least_from_rows
from searcher.execution.messages import Infeasible
from searcher.execution.metrics import on_split
from searcher.searching.records import INFEASIBLE, TrialRecord

WEIGHT_BITS = "bits of weights"
"""Among what is predicted, the only figure that int8 makes smaller in every study; the name of no metric."""


@dataclass(frozen=True)
class Screened:
    """A recipe's prediction.

    Attributes:
        recipe: The recipe.
        prediction: The rows that it will execute.
        predicted: The metrics that these rows give, by key.
        least: The least that other metrics can be by these rows, by key.
        infeasible: The constraints that it cannot satisfy, where there are any.
    """

    recipe: Recipe
    prediction: Prediction
    predicted: dict[str, float]
    least: dict[str, float]
    infeasible: Infeasible | None

    def beyond(self, constraint: Constraint) -> float | None:
        """The distance by which it violates a constraint at least, in the metric's unit.

        None where nothing is known of the metric, or the bound does not bind yet.
        """
        if not constraint.binds:
            return None
        if constraint.key in self.predicted:
            return constraint.violation(self.predicted[constraint.key])
        if constraint.key in self.least and not constraint.is_lower:
            return constraint.violation(self.least[constraint.key])
        return None

    def words(self, constraint: Constraint) -> str:
        """The figure that is known for a constraint, in words."""
        if constraint.key in self.predicted:
            return f"predicted {self.predicted[constraint.key]:,.6g}"
        return f"at least {self.least[constraint.key]:,.6g}"


class Screen:
    """Looks at recipes before they are trained."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._entry = tasks.of(study)
        self._so_far: dict[str, dict[str, float]] = {}
        self.qualities = {m.key for m in on_split(study.measured())}
        """The metrics that are read on a split, by key."""
        self.quality = [o for o in study.objectives if o.key in self.qualities][:1]
        """The objective that is read after every epoch, where there is one."""

    def look(self, recipe: Recipe) -> Screened:
        """Predict a recipe.

        Raises:
            TrialError: Too few of its channels could be removed, or a metric of what is predicted fails.
            SearcherError: Its model cannot be built, or has no module of a name that is kept out of int8.
        """
        prediction = predict(recipe, self._entry.image, self._entry.classes)
        if prediction.ops is None:
            return Screened(recipe, prediction, {}, {}, None)
        predicted = self._predicted(prediction.ops)
        least = least_from_rows(prediction.ops, self._study.measured())
        found = Screened(recipe, prediction, predicted, least, None)
        return replace(found, infeasible=self._infeasible(found))

    def _predicted(self, ops: list[Op]) -> dict[str, float]:
        macs = float(sum(op.macs for op in ops))
        bits = float(sum(op.weights * (op.weight_bits or 0) for op in ops))
        return {"macs": macs, WEIGHT_BITS: bits} | from_rows(ops, self._study.measured())

    def _infeasible(self, found: Screened) -> Infeasible | None:
        violated = [c for c in self._study.constraints if (found.beyond(c) or 0) > 0]
        if not violated or not self._study.screening:
            return None
        return Infeasible("; ".join(f"{c}, {found.words(c)}" for c in violated), found.predicted)

    def point(self, quality: float, predicted: dict[str, float], stands_in: str = "macs") -> list[float]:
        """The point by which a trial is judged at a rung, all to be minimised: its quality, and its cost.

        Where no objective of cost can be predicted (a latency), another figure stands for it.
        """
        cost = [predicted[o.key] * o.sign for o in self._study.objectives if o.key in predicted]
        return [*(o.sign * quality for o in self.quality), *(cost or [predicted[stands_in]])]

    def trained(self, recipe: Recipe) -> list[int]:
        """The epochs that a trial has trained after each of a recipe's trained stages."""
        shares = [getattr(stage, "share", 0.0) for stage in recipe.stages[: stored_stages(recipe)]]
        return list(accumulate(epochs_of(share, self._study.budget.epochs) for share in shares))

    def so_far(self, recipe: Recipe, epochs: int) -> dict[str, float]:
        """The predicted cost of what a trial has made of a recipe when it has trained so many epochs.

        Nothing is known where that alone cannot be predicted, or a metric of it fails.

        A quality that is not pruned yet says nothing of a cost that is: of two trials with one trained
        network, that which will be pruned less is not the worse one. int8 is left out for the same reason.
        """
        trained = self.trained(recipe)
        before = sum(done < epochs for done in trained)
        made = first(recipe, min(before + 1, len(trained)))
        if made.digest() not in self._so_far:
            try:
                predicted = self.look(made).predicted
            except (SearcherError, TrialError):
                predicted = {}
            self._so_far[made.digest()] = predicted
        return self._so_far[made.digest()]


def tried_before(recipe: Recipe, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The trial that had the same recipe, where it was measured or stopped."""
    wanted: dict[str, Any] = recipe.model_dump(mode="json")
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    records = ((t, TrialRecord.of(t)) for t in trials if t.state in ended)
    same = [t for t, record in records if record.stored_recipe == wanted and record.outcome != INFEASIBLE]
    return min(same, key=lambda t: t.state != TrialState.COMPLETE, default=None)
