"""Metrics by name: tasks' figures, and those of files in `objectives/`."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from searcher import tasks
from searcher.config import catalog
from searcher.config.metric import Metric
from searcher.costs.scores import VARIANTS
from searcher.errors import SearcherError, unknown
from searcher.tasks.base import Task


def built_in() -> set[str]:
    """Figures of quality that belong to kinds of tasks; a user's own may belong to all."""
    return set(_of_tasks())


MetricFunction = Callable[..., float]


Range = tuple[float, float]
"""The least and the largest value that a metric can have."""


def metric_functions() -> dict[str, MetricFunction]:
    """Every metric by name: tasks' figures, and the `METRICS` of all the files in `objectives/`.

    Raises:
        SearcherError: A file does not run, has no `METRICS`, or has a metric of a name that is another one's.
    """
    return _of_tasks() | {name: function for name, (function, _) in _defined().items()}


def metrics_code(metrics: Sequence[Metric]) -> dict[str, str]:
    """Digests of the metrics' code by name, comments and blank lines aside.

    A file in `objectives/` whose code was written otherwise and computes what it did keeps the digest of
    before, in its `CODE`: studies that are stored with it go on.
    """
    functions, kept = metric_functions(), dict[str, str]()
    for path in catalog.files("objectives").values():
        module = catalog.load(path)
        code = getattr(module, "CODE", {})
        kept |= {name: str(code[name]) for name in module.METRICS if name in code}
    return {
        m.metric: kept.get(m.metric) or code_digest(inspect.getsource(functions[m.metric])) for m in metrics
    }


def code_digest(code: str) -> str:
    """A digest of Python code that its comment lines and blank lines do not change, 16 hex digits."""
    lines = [line.rstrip() for line in code.splitlines()]
    kept = [line for line in lines if line and not line.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]


def _of_tasks() -> dict[str, MetricFunction]:
    """The figures of quality of every kind of task, by name."""
    return {name: _figure_of(kind, name) for kind in tasks.kinds() for name in kind.metrics}


def _figure_of(kind: type[Task], name: str) -> MetricFunction:
    @functools.wraps(kind.figures)  # whose code says what the figure is
    def read(measurement: Any) -> float:
        return float(measurement.figure(name))

    return read


def own_metrics(metrics: Sequence[Metric]) -> dict[str, Path]:
    """The files of those of the metrics that do not come with searcher, by the metrics' names."""
    shipped = set(catalog.shipped("objectives").values())
    defined = _defined()
    files = {m.metric: defined[m.metric][1] for m in metrics if m.metric in defined}
    return {name: path for name, path in files.items() if path not in shipped}


def _defined() -> dict[str, tuple[MetricFunction, Path]]:
    """Every metric by name, and the file that it is from."""
    found: dict[str, tuple[MetricFunction, Path]] = {}
    for path in catalog.files("objectives").values():
        for name, function in _metrics(path).items():
            if name in found:
                raise _named_twice(name, found[name][1], path)
            found[name] = (function, path)
    return found


def _metrics(path: Path) -> dict[str, MetricFunction]:
    metrics = getattr(catalog.load(path), "METRICS", None)
    if not isinstance(metrics, dict) or not all(map(callable, metrics.values())):
        raise SearcherError(f"{path}: expected METRICS, a dict from names to functions")
    return metrics


def _named_twice(name: str, path: Path, other: Path) -> SearcherError:
    whose = "searcher's own" if other in catalog.shipped("objectives").values() else f"one of {other}"
    return SearcherError(f"{path}: metric {name} is {whose} already: give yours another name")


def ranges() -> dict[str, Range]:
    """Values that metrics can have, by name: files in `objectives/` say it in `RANGES`, where they do.

    Raises:
        SearcherError: A file's `RANGES` are not pairs of numbers.
    """
    labels = {name: one for kind in tasks.kinds() for name, one in kind.labels.items()}
    found: dict[str, Range] = {n: (0, 1) for n in _of_tasks() if labels[n].unit == "%"}
    for path in catalog.files("objectives").values():
        given = getattr(catalog.load(path), "RANGES", {})
        if not isinstance(given, dict) or not all(map(_is_range, given.values())):
            raise SearcherError(f"{path}: RANGES: expected a dict from names to (least, largest)")
        found |= given
    return found


def _is_range(value: object) -> bool:
    numbers = value if isinstance(value, tuple) and len(value) == 2 else ("",)
    return all(isinstance(n, int | float) for n in numbers) and numbers[0] < numbers[-1]


def timed(metrics: Sequence[Metric]) -> bool:
    """Whether one of the metrics runs the model: files in `objectives/` list those in `TIMED`.

    Such a figure holds under the study's conditions alone, and other trials must not run meanwhile.
    """
    return bool(_listed(metrics, "TIMED"))


def on_split(metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that are read on a split: tasks' figures, `QUALITY` of files in `objectives/`."""
    listed, of_tasks = _listed(metrics, "QUALITY"), built_in()
    return [m for m in metrics if m in listed or m.metric in of_tasks]


def least(metrics: Sequence[Metric]) -> dict[str, MetricFunction]:
    """Functions of a network's rows that give the least value of a metric, by its key.

    Files in `objectives/` have them in `LEAST`, of figures that are known in full after a training alone.
    """
    given: dict[str, MetricFunction] = {}
    for path in catalog.files("objectives").values():
        given |= getattr(catalog.load(path), "LEAST", {})
    return {m.key: given[m.metric] for m in metrics if m.metric in given}


def _listed(metrics: Sequence[Metric], attribute: str) -> list[Metric]:
    files = catalog.files("objectives").values()
    names = {name for path in files for name in getattr(catalog.load(path), attribute, ())}
    return [m for m in metrics if m.metric in names]


def check_quality(metrics: Sequence[Metric], task: str, known: Sequence[str]) -> None:
    """Refuse a figure of quality that a task has not.

    Raises:
        SearcherError: Names the metric and what the task has.
    """
    for metric in on_split(metrics):
        if metric.metric not in known and metric.metric in built_in():
            raise SearcherError(f"task {task} has no metric {metric.metric}: it has {', '.join(known)}")


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
