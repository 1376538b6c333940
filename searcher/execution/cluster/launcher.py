"""Trials as jobs of a cluster, which go on where their driver ends."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.execution.cluster import program as programs
from searcher.execution.cluster.base import Function, Unreachable
from searcher.execution.cluster.engines import backend
from searcher.execution.cluster.mailbox import forbid
from searcher.execution.cluster.submitter import Submitter
from searcher.execution.cluster.trial import ClusterTrial
from searcher.execution.cluster.watcher import Notices, Watcher
from searcher.execution.launcher import Remember, RunningTrial, left_elsewhere
from searcher.execution.layout import JOB
from searcher.execution.messages import Job

LOOK_INTERVAL_S = 0.5
"""Seconds between two looks at what the trials have said."""


class ClusterLauncher:
    """Submits trials as jobs, and knows which trial is in which job.

    Args:
        engine: Where the jobs run, one of `ENGINES`.
        jobs: How many are submitted at a time.
        poll: Seconds between two questions about jobs, where they are `polled`.
        say: Called with each line that is worth a user's attention.
        program: What a job runs: called with the folders of its trials; by default it runs them.
        now: A clock, in seconds.
    """

    def __init__(
        self,
        engine: str,
        jobs: int,
        poll: float,
        say: Callable[[str], None],
        program: Function | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine, self.workers = engine, jobs
        self._jobs = backend(engine)()
        self.outlive = self._jobs.survive
        if self._jobs.inside:
            program = programs.inside
        interval_s, notices = poll if self._jobs.polled else LOOK_INTERVAL_S, Notices(say)
        self._watcher = Watcher(self._jobs, interval_s, notices, now)
        run = program or partial(programs.main, engine)
        self._submitter = Submitter(engine, self._jobs, interval_s, notices, run, self._joined, now)
        self._alive: dict[str, set[ClusterTrial]] = {}

    def prepare(self) -> None:
        """Nothing: jobs start by themselves."""

    def end(self) -> None:
        """Nothing was started."""

    def threads(self, study: Study) -> int:
        """The cores that its job has for it."""
        return study.cluster.cpus

    def room(self, running: Sequence[RunningTrial], study: Study) -> int:
        """The trials of whole jobs: a trial that ends before the others of its job leaves no room."""
        taken = len(self._alive) + self._submitter.jobs_besides(study)
        free = (self.workers - taken) * study.cluster.trials_per_job
        return free - self._submitter.trials_of(study)

    def start(self, job: Job, remember: Remember) -> ClusterTrial:
        """Write down what the trial is; its job is submitted by `submit`."""
        started = ClusterTrial(job, self._watcher, self._left, remember)
        started.folder.mkdir()
        programs.write(started.folder, job)
        self._submitter.add(started)
        return started

    def submit(self) -> None:
        """Submit what waits, in as many jobs as it needs; where the cluster does not answer, later.

        Raises:
            SearcherError: The cluster refuses it.
        """
        self._submitter.submit()

    def attach(self, job: Job, told: dict[str, Any]) -> ClusterTrial | None:
        """A trial whose job was submitted by another driver, also where its id was not written down.

        Raises:
            SearcherError: The job is elsewhere, or the cluster does not answer.
        """
        self._check_here(job.study, told)
        found = ClusterTrial(job, self._watcher, self._left, lambda told: None)
        try:
            job_id = told.get("id") or self._jobs.named(Path(told["folder"]), told["name"])
        except Unreachable as error:
            raise SearcherError(
                f"{error}; without it nothing is known of the jobs of {job.study.name}"
            ) from error
        if not job_id:
            forbid(found.folder)  # what is submitted late does not begin
            return None
        self._joined(found, job_id)
        return found

    def _check_here(self, study: Study, told: dict[str, Any]) -> None:
        """Refuse what a driver has written down of a job if it means nothing to this one."""
        if told["engine"] != self.engine:
            raise left_elsewhere(study, f"go on with --cluster {told['engine']}")
        if self._jobs.host_bound and told["host"] != gethostname():
            raise left_elsewhere(study, "go on there", f" on {told['host']}")

    def wait(self, running: Sequence[RunningTrial], seconds: float) -> None:
        """Wait; the cluster is asked about its jobs when the trials are."""
        time.sleep(max(seconds, LOOK_INTERVAL_S))

    def _joined(self, member: ClusterTrial, job_id: str) -> None:
        member.id = job_id
        self._alive.setdefault(job_id, set()).add(member)
        self._watcher.watch(job_id)

    def _left(self, member: ClusterTrial, cancel: bool) -> None:
        """A trial has ended, or is to end: then its job is cancelled where it was the last in it."""
        self._submitter.withdraw(member)
        others = self._alive.get(member.id, set())
        others.discard(member)
        if member.id and not others:
            self._alive.pop(member.id, None)
            if cancel:
                self._watcher.cancel(member.id)
            self._watcher.forget(member.id)


def cancel_jobs(left: Sequence[tuple[Path, dict[str, Any]]]) -> int:
    """Cancel the jobs of trials whose driver is gone.

    Args:
        left: Each trial's folder, and what was written down of its job.

    Returns:
        How many jobs there were.

    Raises:
        SearcherError: The cluster does not answer.
    """
    wanted: dict[str, set[str]] = {}
    try:
        for folder, told in left:
            forbid(folder / JOB)
            jobs = backend(told["engine"])()
            job_id = told.get("id") or jobs.named(Path(told["folder"]), told["name"])
            if job_id:
                wanted.setdefault(told["engine"], set()).add(job_id)
        for engine, ids in wanted.items():
            backend(engine)().cancel(sorted(ids))
    except Unreachable as error:
        raise SearcherError(str(error)) from error
    return sum(map(len, wanted.values()))
