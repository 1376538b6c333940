"""A network from a checkpoint, in floating point and in int8: its quality, cost, size and latency."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from searcher.compression.pipeline import run_recipe
from searcher.compression.training import Run
from searcher.config.deployment import Deployment
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.costs.scores import VARIANTS, score
from searcher.errors import SearcherError, TrialError
from searcher.execution.measurement import Measurement
from searcher.execution.steps import Step, unsaid
from searcher.tasks.base import Task

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Evaluation:
    """One network's figures.

    Attributes:
        arithmetic: ``float32``, or ``int8``.
        quality: The task's figures on the split.
        cost: Parameters, multiply-accumulates and megabytes of 10^6 bytes.
        scores: By variant.
        latency_ms: Median latency of a batch.
        memory_mb: The memory of the model and one run of it, in 10^6 bytes.
        circumstances: The machine, the conditions, and of int8 the kernels.
    """

    arithmetic: str
    quality: dict[str, float]
    cost: dict[str, float]
    scores: dict[str, float]
    latency_ms: float
    memory_mb: float
    circumstances: dict[str, object]


@dataclass(frozen=True)
class Evaluated:
    """What came out: an evaluation in each arithmetic, and why there is none in int8 where there is none."""

    model: str
    task: str
    split: str
    images: int
    evaluations: list[Evaluation]
    refused: str = ""


def evaluate(
    model: Model,
    task: Task,
    split: SplitName,
    deployment: Deployment,
    exclude: Mapping[str, Literal[16, 32]] | None,
    step: Step = unsaid,
) -> Evaluated:
    """Evaluate a model with its weights on one of a task's splits.

    Args:
        model: With the file of its weights.
        task: Its data.
        split: The split that quality is read on. int8 is calibrated on training images.
        deployment: How latency and memory are measured.
        exclude: Modules that int8 leaves at a width of 16 or 32 bits; None for no int8.
        step: Told of what takes a while, as it begins.

    Raises:
        SearcherError: The model cannot be built, or its weights or outputs do not fit.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(task, 1, 0, device, lambda *_: None)
    images = {"train": task.train, "validation": task.validation, "test": task.test}[split]

    def measured(recipe: Recipe, arithmetic: str) -> Evaluation:
        measurement = Measurement(run_recipe(recipe, run), task, images, deployment, device, step)
        return _evaluation(measurement, arithmetic)

    try:
        found = [measured(Recipe(model=model, stages=()), "float32")]
    except TrialError as error:
        raise SearcherError(f"model {model.called}: {error}") from error
    refused = ""
    if exclude is not None:
        step("quantize")
        try:
            found.append(measured(Recipe(model=model, stages=(Quantize(exclude=dict(exclude)),)), "int8"))
        except TrialError as error:
            refused = str(error)
    return Evaluated(model.words(), task.name, split, len(images), found, refused)


def _evaluation(measurement: Measurement, arithmetic: str) -> Evaluation:
    ops, inference = measurement.ops, measurement.inference
    return Evaluation(
        arithmetic,
        measurement.figures,
        {
            "params": float(sum(op.params for op in ops)),
            "macs": float(sum(op.macs for op in ops)),
            "size_mb": measurement.size_mb,
        },
        {name: score(ops, name).value for name in VARIANTS},
        inference.median_ms,
        inference.inference_memory_mb,
        measurement.circumstances,
    )
