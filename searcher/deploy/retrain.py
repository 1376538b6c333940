"""Training a recipe file's recipe again, with its whole budget, and holding it to what was expected."""

import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from searcher import tasks
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.network import Network, floating
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.training import Run
from searcher.config.metric import Metric
from searcher.config.recipe import Recipe, Train
from searcher.config.recipe_file import RecipeFile
from searcher.deploy import onnx
from searcher.errors import SearcherError, TrialError
from searcher.execution.curve import CURVE, Curve, Point
from searcher.execution.curve import read as read_curve
from searcher.execution.layout import INT8, figures_of
from searcher.execution.measurement import Measurement, measure
from searcher.execution.metrics import check_metrics, on_split
from searcher.execution.quality import read
from searcher.execution.rehearsal import rehearse
from searcher.execution.steps import Step, unsaid
from searcher.files import in_one_step
from searcher.searching.loading import models_of
from searcher.searching.seen import beyond_test
from searcher.tasks.base import Task

Report = Callable[[int, str, int, int, float], None]
"""Takes the seed, the stage, the epochs done, the epochs in all and the validation accuracy."""

COMPARED_METRICS = ("size_mb", "params", "macs", "latency_median_ms", "fps", "inference_memory_mb")
"""Metrics of the uncompressed and of the finished model, besides quality and score."""


@dataclass(frozen=True)
class Retrained:
    """The outcome of one seed.

    Attributes:
        seed: Of weights, order and augmentation.
        validation: The expected metrics, on the validation split.
        test: The metrics of quality on the test split, which nothing else has seen.
        before: Figures of the model before it was pruned and quantized; empty where it is neither.
        after: The same of the finished model.
        detected: What both models make of a few images of the test split, where the task draws it.
        int8: The kernels of an int8 model, and how far it is from exact arithmetic.
    """

    seed: int
    validation: dict[str, float]
    test: dict[str, float]
    before: dict[str, float]
    after: dict[str, float]
    detected: dict[str, list[Any]] = field(default_factory=dict)
    int8: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One metric: what was expected and what came out, over the seeds."""

    key: str
    expected: float
    tolerance: float
    mean: float
    deviation: float
    met: bool


@dataclass(frozen=True)
class Result:
    """A recipe that was trained again: what came out, beside what was expected.

    `beyond_test` has the figures of the first seed, where weights were given, that are larger on
    validation than on test by more standard errors than chance explains, and by how many.
    """

    recipe: str
    epochs: int
    seeds: list[Retrained]
    lines: list[Line]
    beyond_test: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether every metric is within its tolerance."""
        return all(line.met for line in self.lines)


def retrain(
    file: RecipeFile, folder: Path, seeds: int, epochs: int | None, report: Report, step: Step = unsaid
) -> tuple[Result, Network, Task]:
    """Train a recipe with so many seeds; a run that was killed goes on from its last epoch.

    Args:
        file: The recipe file.
        folder: Where the states of unfinished trainings are kept.
        seeds: How many; the first is the file's.
        epochs: Instead of the file's budget.
        report: Called as the training goes on.
        step: Told of what takes a while besides.

    Returns:
        What came out, the network of the first seed, and the task.

    Raises:
        SearcherError: The task's data is absent or differs, or the recipe cannot be made.
    """
    check_metrics(file.metrics())
    step("load the data")
    task = load_task(file)
    runs = [_Seed(file, task, folder, file.provenance.seed + i, epochs, report, step) for i in range(seeds)]
    trained = runs[0].trained()
    done = [run.retrained(trained if run is runs[0] else None) for run in runs]
    budget = epochs or file.provenance.epochs
    beyond = too_familiar(file.recipe, done[0], task)
    return Result(file.recipe.digest(), budget, done, compare(file, done), beyond), trained.network, task


def too_familiar(recipe: Recipe, seed: Retrained, task: Task) -> dict[str, float]:
    """The figures that given weights, a teacher's as well, have made larger on validation than on test."""
    given = any(model.weights for model in models_of([recipe]))
    return beyond_test(seed.validation, seed.test, task) if given else {}


def load_task(file: RecipeFile) -> Task:
    """The task of a recipe file.

    Raises:
        SearcherError: Its data is not on this machine, or is not that of the search.
    """
    name, data = file.provenance.task, file.provenance.data
    expected = file.provenance.data_fingerprint
    tasks.choose([name], lambda name: data)
    task = tasks.entry(name, data).load()
    if task.fingerprint != expected:
        raise SearcherError(
            f"the data of task {name} differs from that of the search: "
            f"fingerprint {task.fingerprint}, expected {expected}"
        )
    return task


def compare(file: RecipeFile, done: Sequence[Retrained]) -> list[Line]:
    """Expected values beside the mean over the seeds."""
    lines = []
    for key, expected in file.expected.items():
        values = [seed.validation[key] for seed in done]
        mean = statistics.fmean(values)
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        lines.append(Line(key, expected.value, expected.tolerance, mean, spread, expected.met(mean)))
    return lines


def states(folder: Path, digest: str, epochs: int, seed: int) -> Path:
    """The folder of one seed's checkpoints and curve."""
    return folder / f"{digest}-{epochs}-epochs-seed-{seed}"


def device_at_hand() -> torch.device:
    """The GPU, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Seed:
    """One seed's training; what is done is found again in its folder."""

    def __init__(
        self,
        file: RecipeFile,
        task: Task,
        folder: Path,
        seed: int,
        epochs: int | None,
        report: Report,
        step: Step,
    ) -> None:
        budget = epochs or file.provenance.epochs
        self.file, self.task, self.seed = file, task, seed
        self.folder = states(folder, file.recipe.digest(), budget, seed)
        self.run = Run(task, budget, seed, device_at_hand(), self._report, Checkpoints(self.folder))
        self.say, self.told = report, step
        self.curve, self.started = self._going_on()
        self.before: dict[str, float] = {}
        self.detected: dict[str, list[Any] | None] = {}

    def _going_on(self) -> tuple[Curve, float]:
        """The curve with the points of an earlier run, and when its clock would have begun."""
        points = read_curve(self.folder / CURVE)
        curve = Curve(self.folder / CURVE)
        for point in points:
            curve.add(point)
        return curve, time.monotonic() - (points[-1].seconds if points else 0.0)

    def _report(self, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        self.curve.add(Point(time.monotonic() - self.started, stage, epoch, epochs, accuracy))
        self.say(self.seed, stage, epoch, epochs, accuracy)

    def _step(self, name: str, done: int = 0, count: int = 0) -> None:
        self.told(f"seed {self.seed}, {name}", done, count)

    def trained(self) -> Measurement:
        """Train, or load what is trained already; the network, to be measured."""
        task = self.task
        try:
            predicted = predict(self.file.recipe, task.image, task.classes)
            if self.seed == self.file.provenance.seed and not any(self.folder.glob("*.pt")):
                self._rehearse()
            # A training says nothing before its first epoch is done.
            trains = any(isinstance(stage, Train) for stage in self.file.recipe.stages[:1])
            self._step("train" if trains else "first stage")
            network = run_recipe(self.file.recipe, self.run, self._uncompressed)
            measurement = self._measurement(network)
            if predicted.ops is not None:
                reconcile(predicted.ops, measurement.ops, self.file.recipe)
        except TrialError as error:
            raise SearcherError(f"the recipe cannot be retrained: {error}") from error
        return measurement

    def _rehearse(self) -> None:
        """All stages and the export, on the untrained network."""
        self._step("rehearse")
        network = rehearse(self.file.recipe, self.task, self.run.device)
        self._step("rehearse the export")
        with TemporaryDirectory() as folder:
            onnx.export(network, self.task.example(), Path(folder) / "rehearsed.onnx")

    def retrained(self, measurement: Measurement | None) -> Retrained:
        """The figures; they are measured once, the test split is touched no more often."""
        path = self.folder / "measured.json"
        if path.is_file():
            return Retrained(**json.loads(path.read_text()))
        measurement = measurement or self.trained()
        metrics = self.file.metrics()
        validation = measure(measurement, metrics)
        test = measure(replace(measurement, split=self.task.test), on_split(metrics))
        after = self._figures(measurement) if self.before else {}
        seen = {**self.detected, "after": self._sample(measurement.network)}
        shown = {name: sample for name, sample in seen.items() if sample is not None}
        int8 = measurement.circumstances.get(INT8, {})
        done = Retrained(self.seed, validation, test, self.before, after, shown, int8)
        with in_one_step(path) as part:
            part.write_text(json.dumps(asdict(done)))
        return done

    def _measurement(self, network: Network) -> Measurement:
        deployment = self.file.provenance.deployment
        return Measurement(network, self.task, self.task.validation, deployment, self.run.device, self._step)

    def _sample(self, network: Network) -> list[Any] | None:
        return read(network, self.run.device, self.task.sample, "look at a sample", self._step)

    def _uncompressed(self, model: nn.Module) -> None:
        if self.seed == self.file.provenance.seed:
            whole = floating(copy.deepcopy(model).cpu().eval())
            self.before = self._figures(replace(self._measurement(whole), step=self._step_before))
            self.detected = {"before": self._sample(whole)}
        self._step("compress")

    def _step_before(self, name: str, done: int = 0, count: int = 0) -> None:
        self._step(f"{name} before compression", done, count)

    def _figures(self, measurement: Measurement) -> dict[str, float]:
        scores = [m for m in self.file.metrics() if m.variant]
        quality = on_split(self.file.metrics())
        every = [*quality, *scores, *(Metric(metric=name) for name in COMPARED_METRICS)]
        figures = measure(measurement, every)
        return {**figures_of(measurement.circumstances), **figures}
