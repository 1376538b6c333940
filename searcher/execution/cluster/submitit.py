"""submitit: a function as a job of Slurm, or as processes of this machine."""

import contextlib
import io
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths

from searcher.config.cluster import Cluster
from searcher.errors import SearcherError
from searcher.execution.cluster import slurm
from searcher.execution.cluster.base import End, Function, Jobs, Unreachable
from searcher.execution.signals import no_interrupt


class _SubmititJobs(Jobs):
    @staticmethod
    def rank() -> int:
        """The number of this task among those of its job, from 0."""
        return int(submitit.JobEnvironment().local_rank)


class SlurmJobs(_SubmititJobs):
    """Jobs of Slurm."""

    def __init__(self) -> None:
        slurm.check()

    def submit(
        self, cluster: Cluster, folder: Path, name: str, tasks: int, function: Function, *args: Any
    ) -> str:
        """Submit by sbatch; what it refuses is bad input."""
        executor = submitit.SlurmExecutor(folder=folder)
        memory = {"mem": f"{cluster.mem}M"} if cluster.mem else {}
        wanted = {
            "partition": cluster.partition,
            "account": cluster.account,
            "constraint": cluster.constraint,
            "gpus_per_node": cluster.gpus or None,
            "setup": list(cluster.setup) or None,
        }
        executor.update_parameters(
            job_name=name,
            time=cluster.time,
            ntasks_per_node=tasks,
            cpus_per_task=cluster.cpus,
            # A driver tells what was preempted and submits it again itself.
            additional_parameters={"no-requeue": True} | memory,
            # Since Slurm 22.05 a step does not inherit the processors of a task.
            # Of trials that share a job one may end long before the others, or be killed.
            srun_args=[f"--cpus-per-task={cluster.cpus}", "--wait=0", "--kill-on-bad-exit=0"],
            **{key: value for key, value in wanted.items() if value is not None},
        )
        try:
            # It prints what sbatch said as well.
            with no_interrupt(), _not_of_this_job(), contextlib.redirect_stderr(io.StringIO()):
                return str(executor.submit(function, *args).job_id)
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            said = _said(str(error))
            if any(word in said.lower() for word in slurm.PASSING):
                raise Unreachable(f"sbatch: {said}") from error
            raise SearcherError(f"Slurm refuses the job: {said}") from error

    def named(self, folder: Path, name: str) -> str | None:
        """Ask Slurm for the name; a submission that was cut off is finished."""
        found = slurm.named(name)
        if found:
            _finish(folder, found)
        return found

    def ended(self, ids: Sequence[str]) -> tuple[dict[str, End], str]:
        """Ask squeue, and sacct for the reasons."""
        return slurm.ended(ids)

    def cancel(self, ids: Sequence[str]) -> None:
        """By scancel."""
        slurm.cancel(ids)

    def grace_s(self, end: End) -> float:
        """Longer after a good end, which must have left a result."""
        return slurm.GRACE_AFTER_SUCCESS_S if end.well else slurm.GRACE_AFTER_FAILURE_S


@contextlib.contextmanager
def _not_of_this_job() -> Iterator[None]:
    """Without what Slurm has told a driver that is a job itself: sbatch would pass it on to the trial's."""
    prefixes = ("SLURM_", "SBATCH_", "SRUN_")
    own = {k: v for k, v in os.environ.items() if k.startswith(prefixes) and k != "SLURM_CONF"}
    for key in own:
        del os.environ[key]
    try:
        yield
    finally:
        os.environ.update(own)


def _said(text: str) -> str:
    """The words of sbatch in an error of submitit's."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line.partition("error:")[2].strip() for line in lines if line.startswith("sbatch: error:")]
    return "; ".join(said) or (lines[-1] if lines else "no reason is given")


def _finish(folder: Path, job_id: str) -> None:
    """Give the job its function, where its submitter died between sbatch and the last step of submitit's."""
    wanted = JobPaths(folder, job_id=job_id).submitted_pickle
    written = [path for path in folder.glob("*.pkl") if "_" not in path.stem]
    if not wanted.exists() and written:  # one for each attempt, all the same
        written[0].rename(wanted)


class LocalJobs(_SubmititJobs):
    """Jobs as processes of this machine, which survive their submitter; each is known by its process id."""

    host_bound = True
    polled = False

    def submit(
        self, cluster: Cluster, folder: Path, name: str, tasks: int, function: Function, *args: Any
    ) -> str:
        """Start a controller of submitit's, and by it the tasks."""
        executor = submitit.LocalExecutor(folder=folder)
        executor.update_parameters(
            timeout_min=cluster.time,
            tasks_per_node=tasks,
            gpus_per_node=cluster.gpus,
            setup=[],
        )
        job_id = _submitted(executor, function, *args)
        (folder / name).write_text(job_id)
        return job_id

    def named(self, folder: Path, name: str) -> str | None:
        """Read the file that the submission has left."""
        with contextlib.suppress(OSError):
            return (folder / name).read_text() or None
        return None

    def ended(self, ids: Sequence[str]) -> tuple[dict[str, End], str]:
        """Jobs whose controller is gone."""
        return {i: End("its process ended without a result") for i in ids if not _alive(i)}, ""

    def cancel(self, ids: Sequence[str]) -> None:
        """Kill each job's tasks, then its controller, and wait for them."""
        for job_id in ids:
            if _alive(job_id):
                for pid in [*_children(int(job_id)), int(job_id)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                while _alive(job_id):
                    time.sleep(0.01)


def _submitted(executor: submitit.LocalExecutor, function: Function, *args: Any) -> str:
    """Submit and forget: the processes outlive this one, which must not warn that they run."""
    with no_interrupt(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        return str(executor.submit(function, *args).job_id)


def _alive(job_id: str) -> bool:
    return b"submitit.local._local" in _command(int(job_id))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class DebugJobs(_SubmititJobs):
    """Jobs that run inside the driver, one after another, when they are first asked about."""

    survive = False
    inside = True
    polled = False

    def __init__(self) -> None:
        self._jobs: dict[str, Any] = {}

    def submit(
        self, cluster: Cluster, folder: Path, name: str, tasks: int, function: Function, *args: Any
    ) -> str:
        """Keep the function until the job is asked about."""
        job = submitit.DebugExecutor(folder=folder).submit(function, *args)
        self._jobs[str(job.job_id)] = job
        return str(job.job_id)

    def named(self, folder: Path, name: str) -> str | None:
        """None: nothing outlives the driver."""
        return None

    def ended(self, ids: Sequence[str]) -> tuple[dict[str, End], str]:
        """Run the first that was not run."""
        for job_id in ids:
            job = self._jobs.get(job_id)
            if job is not None and not job.cancelled:
                job.exception()
                del self._jobs[job_id]
                return {job_id: End("it ended without a result")}, ""
        return {i: End("it was cancelled") for i in ids}, ""

    def cancel(self, ids: Sequence[str]) -> None:
        """Leave out what was not run."""
        for job_id in ids:
            self._jobs.pop(job_id, None)
