"""The program of a job, which runs one of the job's trials in each task."""

import pickle
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from searcher.config import catalog
from searcher.execution import worker
from searcher.execution.cluster.engines import backend
from searcher.execution.cluster.mailbox import Files
from searcher.execution.messages import Job

_JOB = "job.pkl"


def main(engine: str, folders: Sequence[str]) -> None:
    """Run the trial of this task's folder."""
    catalog.load_plugins()  # before a job of their classes is read
    # Slurm's warnings of a time limit or a preemption: the driver hears of them from Slurm, and the store
    # has the state after every epoch.
    for warning in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(warning, signal.SIG_IGN)
    number = backend(engine).rank() if len(folders) > 1 else 0
    files = Files(Path(folders[number]))
    if not files.asked_to_stop:
        files.begin()
        files.obey()
        gpu = number % max(1, torch.cuda.device_count())
        worker.run(replace(_read(Path(folders[number])), gpu=gpu), files)


def inside(folders: Sequence[str]) -> None:
    """Run all trials in the driver's own process, which cannot answer at a rung meanwhile."""
    for folder in map(Path, folders):
        files = Files(folder)
        files.begin()
        worker.run(replace(_read(folder), rungs=()), files, log=False)


def write(folder: Path, job: Job) -> None:
    """Write down what the trial of a folder is."""
    (folder / _JOB).write_bytes(pickle.dumps(job))


def _read(folder: Path) -> Job:
    job: Job = pickle.loads((folder / _JOB).read_bytes())
    return job
