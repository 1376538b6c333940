"""Quality and cost of a finished model, by metrics found by name in `objectives/`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from searcher import catalog
from searcher.costs.graph import Op, walk
from searcher.costs.rules import VARIANTS
from searcher.errors import SearcherError, unknown
from searcher.pipeline import Network
from searcher.study import Metric
from searcher.tasks.classification import Classification, Split


@dataclass(frozen=True)
class Measurement:
    """What a metric may look at: the finished model, the task and the split that quality is read on."""

    network: Network
    task: Classification
    split: Split

    @cached_property
    def ops(self) -> list[Op]:
        """The operations of the executed graph, one row each."""
        network = self.network
        return walk(network.architecture.cpu(), network.executed.cpu(), self.task.example())


MetricFunction = Callable[..., float]


def metric_functions() -> dict[str, MetricFunction]:
    """Every metric by name, from the `METRICS` of all the files in `objectives/`."""
    found: dict[str, MetricFunction] = {}
    for path in catalog.files("objectives").values():
        for name, function in catalog.load(path).METRICS.items():
            found.setdefault(name, function)
    return found


def check_metrics(metrics: Sequence[Metric]) -> None:
    """Refuse a metric that does not exist, and a variant that is missing, unknown or not wanted.

    Raises:
        SearcherError: Names the metric and what was expected.
    """
    functions = metric_functions()
    for metric in metrics:
        if metric.metric not in functions:
            raise unknown("metric", metric.metric, functions)
        takes = "variant" in inspect.signature(functions[metric.metric]).parameters
        if takes and metric.variant is None:
            raise SearcherError(
                f"metric {metric.metric} needs a variant: known: {', '.join(sorted(VARIANTS))}"
            )
        if takes and metric.variant not in VARIANTS:
            raise unknown("score variant", str(metric.variant), VARIANTS)
        if not takes and metric.variant is not None:
            raise SearcherError(f"metric {metric.metric} has no variants, got {metric.variant!r}")


def measure(measurement: Measurement, metrics: Sequence[Metric]) -> dict[str, float]:
    """Every metric's value by its key."""
    functions = metric_functions()
    return {
        m.key: functions[m.metric](measurement, **({"variant": m.variant} if m.variant else {}))
        for m in metrics
    }
