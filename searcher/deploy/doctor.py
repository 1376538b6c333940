"""Every engine tried on a model before it is searched: what works, what does not, and why."""

import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from searcher.compression.blocks import blocks
from searcher.compression.build import start
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.training import Run
from searcher.config.deployment import Deployment
from searcher.config.recipe import (
    CRITERIA,
    NOT_NNIS,
    Distill,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    Recipe,
    Stage,
    Train,
)
from searcher.config.study import Budget
from searcher.costs.latency import run_inference
from searcher.deploy import onnx
from searcher.errors import SearcherError, TrialError, first_line
from searcher.execution.examination import obstacle_to_int8
from searcher.execution.rehearsal import few_images
from searcher.execution.steps import Step, unsaid
from searcher.tasks.base import Task
from searcher.wording import duration, fidelity, several

RATIO, SPARSITY = 0.3, 0.5
"""The share of channels, and that of weights, that is removed on trial."""

TIMED_IMAGES = 512
"""Training images of the epochs that are timed; the first of them makes what is made lazily."""

Attempt = Callable[[], str]
"""Tries something, and says what came out."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: What was tried.
        works: Whether it did.
        note: What came out, or why it does not work.
    """

    what: str
    works: bool
    note: str


def examine(model: Model, task: Task, step: Step = unsaid, budget: Budget | None = None) -> list[Finding]:
    """Try every engine on a model without training it, and time its training.

    Args:
        model: The model.
        task: Its data.
        step: Told of what is tried, as it begins.
        budget: That of its search, where it has one.

    Raises:
        SearcherError: The model cannot be built, does not run, or its outputs are none of the task's.
    """
    start(model, task)
    return [_tried(what, attempt, step) for what, attempt in _attempts(model, task, budget)]


def _tried(what: str, attempt: Attempt, step: Step) -> Finding:
    step(what)
    try:
        with _quiet():
            return Finding(what, True, attempt())
    except (TrialError, SearcherError) as error:
        return Finding(what, False, first_line(error))


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it libraries keep to themselves what they print and log of a network that they refuse."""
    logging.disable()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def _attempts(model: Model, task: Task, budget: Budget | None) -> Iterator[tuple[str, Attempt]]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    few = Run(few_images(task), 1, 0, device, lambda *_: None)

    def made(*stages: Stage) -> Network:
        # Training is left out: what an engine can do does not hang on it.
        return run_recipe(Recipe(model=model, stages=stages), few)

    def channels(engine: str) -> str:
        failed = []
        criteria = [c for c in CRITERIA if engine != "nni" or c not in NOT_NNIS]
        for criterion in criteria:
            asked = {"ratio": RATIO, "engine": engine, "criterion": criterion, "share": 0.0}
            try:
                made(PruneChannels.model_validate(asked))
            except TrialError as error:
                failed.append((criterion, error))
        if len(failed) == len(criteria):
            raise failed[0][1]
        lacking = "".join(f"; not {name}: {first_line(error)}" for name, error in failed)
        return f"{RATIO:.0%} removed, by {', '.join(c for c in criteria if c not in dict(failed))}{lacking}"

    def weights() -> str:
        try:
            made(PruneWeights(sparsity=SPARSITY, share=0.0))
        except TrialError as error:
            made(PruneWeights(sparsity=SPARSITY, share=0.0, scope="local"))
            return f"{SPARSITY:.0%} of every layer's; not by one threshold: {first_line(error)}"
        return f"{SPARSITY:.0%} of them zero"

    def distillation() -> str:
        made(Distill(teacher=model.without_weights(), teacher_training=Train(), share=1.0))
        return "from itself"

    @cache
    def tried_int8() -> tuple[Quantize, str] | TrialError:
        """int8 of the model, and the block that has to be kept out of it, in words; or why there is none."""
        try:
            made(Quantize())
        except TrialError as error:
            parts = blocks(start(model, task))
            name = obstacle_to_int8(model, parts, task)
            if name is None:
                return error
            kept = Quantize.model_validate({"exclude": dict.fromkeys(parts[name], 32)})
            return kept, f"; {name} in 32 bits: {first_line(error)}"
        return Quantize(), ""

    def quantize() -> tuple[Quantize, str]:
        found = tried_int8()
        if isinstance(found, TrialError):
            raise found
        return found

    def int8(*before: Stage) -> str:
        stage, but = quantize()
        ran = made(*before, stage).execution
        if ran is None:
            raise TrialError("nothing of it is executed in int8")
        return f"{fidelity(ran.figures)} from exact arithmetic{but}"

    def pruned_int8() -> str:
        try:
            return int8(PruneChannels(ratio=RATIO, engine="torch-pruning", share=0.0))
        except TrialError:
            return int8(PruneChannels(ratio=RATIO, engine="nni", share=0.0))

    def file(*stages: Stage) -> str:
        network = made(*stages)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.export(network, task.example(), path)
            return f"{path.stat().st_size / 1e6:.3f} MB"

    def predicted() -> str:
        found = predict(Recipe(model=model, stages=()), task.image, task.classes)
        if found.ops is None:
            raise TrialError(f"{found.verdict}: {found.reason}")
        macs, params = sum(op.macs for op in found.ops), sum(op.params for op in found.ops)
        return f"{params:,} parameters, {macs:,} MACs"

    def latency() -> str:
        return f"{run_inference(made().executed, task.example(), Deployment()).median_ms:.2f} ms"

    def training() -> str:
        seconds = _epoch_seconds(model, task, device)
        images = len(task.train)
        epoch = f"an epoch of {images:,} images takes {duration(seconds)} on {device.type}"
        if budget is None:
            return epoch
        trial = seconds * budget.epochs * min(budget.train_images or images, images) / images
        trials = several(budget.trials, "trial")
        every = duration(budget.trials * trial)
        return f"{epoch}; a trial that trains once, {duration(trial)}; {trials} of them, {every}"

    yield "cost before training", predicted
    yield "training", training
    yield "distillation", distillation
    yield "channels, torch-pruning", lambda: channels("torch-pruning")
    yield "channels, NNI", lambda: channels("nni")
    yield "weights, NNI", weights
    yield "int8", int8
    yield "channels, then int8", pruned_int8
    yield "latency", latency
    yield "ONNX file", file
    yield "ONNX file in int8", lambda: file(quantize()[0])


def _epoch_seconds(model: Model, task: Task, device: torch.device) -> float:
    """The seconds of an epoch of all training images, from one of a few."""
    few = task.trained_on(min(TIMED_IMAGES, len(task.train)))
    ticks: list[float] = []
    run = Run(few, 2, 0, device, lambda *_: ticks.append(time.monotonic()))
    run_recipe(Recipe(model=model, stages=(Train(),)), run)
    return (ticks[1] - ticks[0]) * len(task.train) / len(few.train)
