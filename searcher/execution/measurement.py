"""Quality and cost of a finished model, measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import nn

from searcher.compression.engines import weights
from searcher.compression.network import Network
from searcher.config.deployment import Deployment
from searcher.config.metric import Metric
from searcher.costs.counting.executed import walk
from searcher.costs.latency import Inference, run_inference
from searcher.costs.op import Op
from searcher.errors import TrialError
from searcher.execution.layout import FIGURES, INT8
from searcher.execution.metrics import MetricFunction, _listed, least, metric_functions, own_metrics
from searcher.execution.quality import CPU, read
from searcher.execution.steps import Step, counted, unsaid
from searcher.tasks.base import Split, Task


@dataclass(frozen=True)
class Measurement:
    """All that a metric may look at: the finished model, the task, the split that quality is read on, and how
    the model is run where latency and memory are measured.

    Attributes:
        device: The task's figures are read on it, where the network runs on it; the network itself stays on
            the CPU.
        step: Told of what takes a while, as it begins.
    """

    network: Network
    task: Task
    split: Split
    deployment: Deployment = field(default_factory=Deployment)
    device: torch.device = CPU
    step: Step = unsaid

    @cached_property
    def ops(self) -> list[Op]:
        """The operations of the executed graph, one row each."""
        self.step("count operations")
        return walk(self.network.architecture, self.network.executed, self.task.example())

    @cached_property
    def inference(self) -> Inference:
        """Latency and memory of the executed model; it is run once for all the metrics."""
        self.step("measure latency")
        return run_inference(self.network.executed, self.task.example(), self.deployment)

    @cached_property
    def figures(self) -> dict[str, float]:
        """The task's figures of quality on the split; the model is run once for all of them."""
        test = " on the test split" if self.split is self.task.test else ""
        name = f"measure {self.task.figure}{test}"

        def figures(network: nn.Module) -> dict[str, float]:
            with counted(self.step, name, len(self.split), network):
                return self.task.figures(network, self.split)

        return read(self.network, self.device, figures, name, self.step)

    def figure(self, name: str) -> float:
        """One of the task's figures of quality; NaN where the split has nothing that it is of.

        Raises:
            TrialError: Tasks of this kind have no such figure.
        """
        if name not in self.task.labels:
            raise TrialError(
                f"task {self.task.name} has no figure {name}: it has {', '.join(self.task.labels)}"
            )
        return self.figures.get(name, math.nan)

    @property
    def circumstances(self) -> dict[str, Any]:
        """The conditions and the machine of the inference and the task's figures, where asked for; the
        kernels of an int8 network.
        """
        timed = self.inference.circumstances if "inference" in vars(self) else {}
        found = {FIGURES: self.figures} if "figures" in vars(self) else {}
        ran = self.network.execution
        return {**timed, **found, **({INT8: ran.figures} if ran else {})}

    @cached_property
    def size_mb(self) -> float:
        """The size of the file of what is deployed, in 10^6 bytes."""
        return weights.size_mb(self.network.executed)


@dataclass(frozen=True)
class Rows:
    """The predicted rows of a network, for the metrics that need no more."""

    ops: list[Op]


def from_rows(ops: list[Op], metrics: Sequence[Metric]) -> dict[str, float]:
    """The values, by key, of the metrics that the rows of a network alone give.

    Files in `objectives/` list those in `PREDICTED`.

    Raises:
        TrialError: A metric fails on these rows, or is not a finite number; names it.
    """
    functions = metric_functions()
    return {m.key: _figure(m, functions[m.metric], Rows(ops)) for m in _listed(metrics, "PREDICTED")}


def least_from_rows(ops: list[Op], metrics: Sequence[Metric]) -> dict[str, float]:
    """The least values, by key, that metrics can have of a network with these rows, where that is known."""
    return {key: float(function(Rows(ops))) for key, function in least(metrics).items()}


def _figure(metric: Metric, function: MetricFunction, rows: Rows) -> float:
    try:
        value = float(function(rows, **_options(metric)))
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise TrialError(f"metric {metric.key} of the predicted network: {reason}") from error
    if not math.isfinite(value):
        raise TrialError(f"metric {metric.key} of the predicted network is {value}, expected a finite number")
    return value


def _options(metric: Metric) -> dict[str, str]:
    return {"variant": metric.variant} if metric.variant else {}


def measure(measurement: Measurement, metrics: Sequence[Metric]) -> dict[str, float]:
    """Every metric's value by its key.

    Raises:
        TrialError: A value is not a finite number.
    """
    functions, own, found = metric_functions(), own_metrics(metrics), dict[str, float]()
    for metric in metrics:
        if metric.metric in own:
            measurement.step(f"measure {metric.key}")
        found[metric.key] = value(functions[metric.metric], measurement, metric)
    return found


class NotFinite(TrialError):
    """A metric's value is infinite, or not a number."""


def value(function: MetricFunction, measurement: Measurement, metric: Metric) -> float:
    """One metric's value.

    Raises:
        TrialError: It is not a finite number, or the function ends Python.
    """
    try:
        found = function(measurement, **_options(metric))
    except SystemExit as error:
        raise TrialError(f"metric {metric.key} ends Python with sys.exit({error.code!r})") from error
    number = _number(found)
    if number is None:
        kind = type(found).__name__
        raise TrialError(f"metric {metric.key} returned {found!r:.60}, of type {kind}: expected a number")
    if not math.isfinite(number):
        raise NotFinite(f"metric {metric.key} is {number}, expected a finite number")
    return number


def _number(found: object) -> float | None:
    """A function's result as a number, also of a tensor or an array of one; None where it is none."""
    if isinstance(found, str | bytes | bytearray):
        return None
    try:
        return float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        return None
