"""A trial as a recipe file: what to retrain, and what it is expected to give."""

import math
import platform
from importlib.metadata import version
from typing import Literal

from optuna.trial import FrozenTrial

from searcher import tasks
from searcher.compression.stages import runner
from searcher.compression.stages.base import EXACT
from searcher.config.metric import Metric
from searcher.config.recipe import Recipe
from searcher.config.recipe_file import FORMAT, Expected, Provenance, RecipeFile
from searcher.config.study import Study
from searcher.execution.metrics import on_split, timed
from searcher.searching.records import TrialRecord
from searcher.version import __version__

LIBRARIES = ("torch", "torch-pruning", "nni", "optuna", "numpy")
TIMED_SHARE = 0.5
"""Of a latency or a memory figure: another machine, or a busy one, is that far off."""


def export(study: Study, trial: FrozenTrial, fingerprint: str) -> RecipeFile:
    """A complete trial's recipe with its provenance and the metrics that it was measured to have.

    Args:
        study: The stored study.
        trial: One of its complete trials.
        fingerprint: Of the data on which it was searched.

    Raises:
        SearcherError: The study's task is not known.
    """
    record = TrialRecord.of(trial)
    recipe = record.recipe
    images = len(tasks.of(study).load().validation)
    metrics = {m.key: m for m in study.measured()}
    expected = {
        key: Expected(
            value=value, tolerance=_tolerance(metrics[key], value, recipe, images), goal=_goal(study, key)
        )
        for key, value in record.metrics.items()
        if key in metrics
    }
    provenance = Provenance(
        study=study.stored_name,
        trial=trial.number,
        task=study.task,
        data=study.data,
        data_fingerprint=fingerprint,
        seed=study.seed,
        epochs=study.budget.epochs,
        deployment=study.deployment,
        versions={"searcher": __version__, "python": platform.python_version()}
        | {library: version(library) for library in LIBRARIES},
    )
    return RecipeFile(format=FORMAT, recipe=recipe, provenance=provenance, expected=expected)


def _goal(study: Study, key: str) -> Literal["maximize", "minimize"] | None:
    return next((o.goal for o in study.objectives if o.key == key), None)


def _tolerance(metric: Metric, value: float, recipe: Recipe, images: int) -> float:
    """The difference that a figure may have when the recipe is trained again.

    Quality: three standard errors of a share of so many images, and at least a point. Timed figures: half of
    them. Counted ones: nothing, but where one threshold over all layers decides which weights are zero.
    """
    if on_split([metric]):
        share = min(max(value, 0.0), 1.0)
        return round(max(0.01, 3 * math.sqrt(share * (1 - share) / images)), 4)
    if timed([metric]):
        return abs(value) * TIMED_SHARE
    return abs(value) * max([EXACT, *(runner(stage).tolerance_of(stage) for stage in recipe.stages)])
