"""The backends of `--cluster`, by name."""

from importlib import import_module
from typing import TYPE_CHECKING

from searcher.errors import unknown

if TYPE_CHECKING:
    from searcher.execution.cluster.base import Jobs

ENGINES = {
    "slurm": "searcher.execution.cluster.submitit:SlurmJobs",
    "local": "searcher.execution.cluster.submitit:LocalJobs",
    "debug": "searcher.execution.cluster.submitit:DebugJobs",
}
"""Subclasses of `Jobs`, imported when they are asked for: Slurm; submitit's processes on this machine, to try
a batch without Slurm; or inside the driver itself."""


def backend(engine: str) -> type["Jobs"]:
    """The class that runs the jobs of an engine.

    Raises:
        SearcherError: There is none of that name.
    """
    if engine not in ENGINES:
        raise unknown("cluster", engine, ENGINES)
    module, _, name = ENGINES[engine].partition(":")
    found: type[Jobs] = getattr(import_module(module), name)
    return found
