"""Names of files and folders in a runs folder, and keys under which figures are stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

STORE = "store"
"""The store of trained stages, in a runs folder."""

GIVEN = "given"
"""The networks and tasks that Python code gave to searches, in a runs folder."""

JOB = "job"
"""The files of a cluster's job, in a trial's folder."""

SAID = "said.jsonl"
"""The messages of a trial in a job, in the job's folder."""

RESULT = "metrics.json"
"""The metrics of a trial, in its folder."""

FIGURES = "figures"
"""The key of all the task's figures of quality among a trial's measurements."""

INT8 = "int8"
"""The key of the kernels that computed a trial's int8 figures."""

COST = "cost.json"
"""The rows of what a trial executed, in its folder."""


def trial_folder(study: Path, number: int) -> Path:
    """The folder of a trial in its study's folder."""
    return study / f"trial-{number:05}"


def figures_of(measured: Mapping[str, Any]) -> dict[str, float]:
    """A task's figures of quality among what was measured; 0.1 stored a detector's as `detections`."""
    return dict(measured.get(FIGURES) or measured.get("detections") or {})
