"""The figures of a study's reference, counted from shapes, to compare networks with."""

from collections.abc import Sequence
from pathlib import Path

from searcher import tasks
from searcher.compression.predict import predict
from searcher.config.metric import Metric
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.costs.op import Op, load_ops
from searcher.costs.scores import VARIANTS, score
from searcher.errors import SearcherError, TrialError
from searcher.execution.layout import COST

SCORE = "micronet_score"


def reference_figures(study: Study) -> dict[str, float] | str:
    """The reference's parameters, operations and scores on the task's images, or why they are not known."""
    if study.reference is None:
        return "the study names no reference"
    try:
        task = tasks.of(study).load()
        prediction = predict(Recipe(model=study.reference, stages=()), task.image, task.classes)
    except (SearcherError, TrialError) as error:
        return str(error)
    if prediction.ops is None:
        return prediction.reason
    return counted(prediction.ops, study.measured())


def trial_figures(folder: Path) -> dict[str, float]:
    """Parameters and operations that a trial has executed; none where it has left no rows."""
    path = folder / COST
    return counted(load_ops(path), []) if path.is_file() else {}


def counted(ops: Sequence[Op], metrics: Sequence[Metric]) -> dict[str, float]:
    """Parameters, multiply-accumulates, and the scores that are among the metrics, by key."""
    scores = [m for m in metrics if m.metric == SCORE and m.variant in VARIANTS]
    return {
        "params": float(sum(op.params for op in ops)),
        "macs": float(sum(op.macs for op in ops)),
        **{m.key: score(ops, str(m.variant)).value for m in scores},
    }
