"""The queue of trials that wait for a job, and the submission of their jobs."""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from socket import gethostname
from typing import Any

from searcher.config.study import Study
from searcher.execution.cluster.base import Function, Jobs, Unreachable
from searcher.execution.cluster.trial import ClusterTrial
from searcher.execution.cluster.watcher import Notices


class Submitter:
    """Submits trials, `trials_per_job` of a study in each job; again where the cluster does not answer.

    Args:
        engine: The name of where the jobs run.
        jobs: Where they run.
        interval_s: Seconds between two attempts.
        notices: Where it is said that there is no answer.
        program: What a job runs: called with the folders of its trials.
        joined: Called with each trial of a job that was submitted, and the job's id.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        engine: str,
        jobs: Jobs,
        interval_s: float,
        notices: Notices,
        program: Function,
        joined: Callable[[ClusterTrial, str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._jobs, self._interval_s, self._notices = engine, jobs, interval_s, notices
        self._program, self._joined, self._now = program, joined, now
        self._waiting: dict[str, list[ClusterTrial]] = {}
        self._tried: dict[Path, str] = {}
        self._not_before = -math.inf

    def add(self, trial: ClusterTrial) -> None:
        """Queue a trial."""
        self._waiting.setdefault(trial.job.study.stored_name, []).append(trial)

    def withdraw(self, trial: ClusterTrial) -> None:
        """Take a trial out of the queue, if it is there."""
        waiting = self._waiting.get(trial.job.study.stored_name, [])
        if trial in waiting:
            waiting.remove(trial)

    def trials_of(self, study: Study) -> int:
        """The trials of a study that wait."""
        return len(self._waiting.get(study.stored_name, []))

    def jobs_besides(self, study: Study) -> int:
        """The jobs that will be submitted for other studies."""
        others = [w for name, w in self._waiting.items() if w and name != study.stored_name]
        return sum(math.ceil(len(waiting) / _together(waiting)) for waiting in others)

    def submit(self) -> None:
        """Submit what waits, in as many jobs as it needs; where the cluster does not answer, later.

        Raises:
            SearcherError: The cluster refuses it.
        """
        if self._now() < self._not_before:
            return
        try:
            for waiting in self._waiting.values():
                while waiting:
                    self._submit(waiting[: _together(waiting)])
        except Unreachable as error:
            self._not_before = self._now() + self._interval_s
            self._notices.once("submitting", f"{error}; jobs are submitted when it answers again")

    def _submit(self, together: Sequence[ClusterTrial]) -> None:
        first, study = together[0], together[0].job.study
        place = first.folder / "submitted"
        before = self._tried.get(place)
        name = before or f"searcher-{study.name}-{first.job.number}-{secrets.token_hex(4)}"
        told = {"engine": self._engine, "host": gethostname(), "name": name, "folder": str(place)}
        self._remember(together, told)
        self._tried[place] = name
        # A submission that failed may have come through all the same.
        job_id = self._jobs.named(place, name) if before else None
        if job_id is None:
            folders = [str(member.folder) for member in together]
            job_id = self._jobs.submit(study.cluster, place, name, len(together), self._program, folders)
        del self._tried[place]
        self._notices.settle("submitting")
        self._remember(together, told | {"id": job_id})
        for member in together:
            self._joined(member, job_id)
            self.withdraw(member)

    def _remember(self, together: Sequence[ClusterTrial], told: dict[str, Any]) -> None:
        """Write down what another driver would find the job by, where the job would be there for it."""
        if self._jobs.survive:
            for member in together:
                member.remember(told)


def _together(waiting: Sequence[ClusterTrial]) -> int:
    """The number of one study's trials that share a job."""
    return waiting[0].job.study.cluster.trials_per_job
