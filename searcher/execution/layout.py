"""Names of files and folders in a runs folder, and keys under which figures are stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

STORE = "store"
"""The store of trained stages, in a runs folder."""

JOB = "job"
"""The files of a cluster's job, in a trial's folder."""

SAID = "said.jsonl"
"""The messages of a trial in a job, in the job's folder."""

RESULT = "metrics.json"
"""The metrics of a trial, in its folder."""

FIGURES = "figures"
"""Under which all of the task's figures of quality are kept with a trial."""

FIGURES = "figures"
"""Under which all of the task's figures of quality are kept with a trial."""

INT8 = "int8"
"""Under which it is kept with a trial by which kernels its int8 figures were computed."""

COST = "cost.json"
"""The rows of what a trial executed, in its folder."""


def trial_folder(study: Path, number: int) -> Path:
    """The folder of a trial in its study's folder."""
    return study / f"trial-{number:05}"


def figures_of(measured: Mapping[str, Any]) -> dict[str, float]:
    """A task's figures of quality among what was measured; 0.1 stored a detector's as `detections`."""
    return dict(measured.get(FIGURES) or measured.get("detections") or {})
