"""Trials as jobs of a cluster, which go on where their driver ends."""

import math
import pickle
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from socket import gethostname
from typing import Any

import torch

from searcher.config.cluster import Engine
from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.execution import worker
from searcher.execution.cluster.mailbox import Files, Host, Mailbox, forbid
from searcher.execution.cluster.slurm import End, Unreachable
from searcher.execution.cluster.submitit import DebugJobs, Function, Jobs, LocalJobs, SlurmJobs, rank
from searcher.execution.launcher import Remember, RunningTrial
from searcher.execution.layout import JOB
from searcher.execution.messages import Job, Killed, Outcome, Progress

ENGINES: dict[Engine, Callable[[], Jobs]] = {"slurm": SlurmJobs, "local": LocalJobs, "debug": DebugJobs}
_JOB = "job.pkl"
LATE, LATEST = 5.0, 120.0
"""Seconds after a job's end in which its last words may still come, which another host wrote: after a bad
end, and after one that must have left some. An NFS client may keep what it knows of a folder for a minute."""
SKEW = 30.0
"""Seconds that a clock may be off before it is said."""
INTERVAL = 0.5
"""Seconds between two looks at what the trials have said."""


def main(folders: Sequence[str]) -> None:
    """The program of a job: each of its tasks runs one of the trials."""
    # Slurm's warnings of a time limit or a preemption: the driver hears of them from Slurm, and the store
    # has the state after every epoch.
    for warning in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(warning, signal.SIG_IGN)
    number = rank() if len(folders) > 1 else 0
    files = Files(Path(folders[number]))
    if not files.asked_to_stop:
        files.begin()
        files.obey()
        gpu = number % max(1, torch.cuda.device_count())
        worker.run(replace(_job(Path(folders[number])), gpu=gpu), files)


def inside(folders: Sequence[str]) -> None:
    """The same in the driver's own process, which cannot answer at a rung meanwhile."""
    for folder in map(Path, folders):
        files = Files(folder)
        files.begin()
        worker.run(replace(_job(folder), rungs=()), files, log=False)


def _job(folder: Path) -> Job:
    job: Job = pickle.loads((folder / _JOB).read_bytes())
    return job


class ClusterTrial:
    """A trial in a job, which it may share with others."""

    def __init__(self, job: Job, launcher: "ClusterLauncher", remember: Remember) -> None:
        self.job, self.folder = job, job.folder / JOB
        self.remember = remember
        self.id = ""
        self._launcher = launcher
        self._mailbox = Mailbox(self.folder, job, launcher.met)
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether the job has left the queue."""
        return self._mailbox.begun

    def events(self) -> list[Progress | Outcome]:
        """What the trial has said; where its job is over and it has not, why."""
        if self._ended or not self.id:
            return []
        over = self._launcher.over(self.id)
        events = self._mailbox.read()
        if not (events and isinstance(events[-1], Outcome)):
            result = self._mailbox.result() if over or self._mailbox.done else None
            if result:
                events.append(result)
            elif over:
                events.append(self._why(over))
        self._ended = bool(events) and isinstance(events[-1], Outcome)
        return events

    def _why(self, end: End) -> Killed:
        if self._mailbox.stopped:
            return Killed("cancelled", counts=False)
        self._mailbox.stop()  # where Slurm is wrong, or slow: nobody hears this trial any more
        return Killed(end.reason, end.counts)

    def go_on(self, rung: int) -> None:
        """Answer a trial that waits at a rung."""
        self._mailbox.go_on(rung)

    def stop(self) -> None:
        """Tell the trial to end; its job is cancelled where no other trial is in it."""
        wanted = not self._ended
        self._ended = True
        if wanted:
            self._mailbox.stop()
        self._launcher.left(self, cancel=wanted)


def _together(waiting: Sequence[ClusterTrial]) -> int:
    """How many of one study's trials share a job."""
    return waiting[0].job.study.cluster.trials_per_job


class ClusterLauncher:
    """Submits trials, `trials_per_job` of a study in each job, and knows which jobs are over.

    Args:
        engine: Where the jobs run.
        jobs: How many are submitted at a time.
        poll: Seconds between two questions to Slurm.
        say: Called with each line that is worth a user's attention.
        program: What a job runs: called with the folders of its trials.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: int,
        poll: float,
        say: Callable[[str], None],
        program: Function = main,
    ) -> None:
        self.engine: Engine = engine
        self._jobs = ENGINES[engine]()
        self.workers = jobs
        self._interval = poll if engine == "slurm" else INTERVAL
        self._say = say
        self._said: set[str] = set()
        self._program = inside if engine == "debug" else program
        self.outlive = self._jobs.survive
        self._waiting: dict[str, list[ClusterTrial]] = {}
        self._tried: dict[Path, str] = {}
        self._not_before = -math.inf
        self._alive: dict[str, set[ClusterTrial]] = {}
        self._over: dict[str, tuple[float, End]] = {}
        self._asked = -math.inf

    def prepare(self) -> None:
        """Nothing: jobs start by themselves."""

    def threads(self, study: Study) -> int:
        """The cores that its job has for it."""
        return study.cluster.cpus

    def room(self, running: Sequence[RunningTrial], study: Study) -> int:
        """The trials of whole jobs: a trial that ends before the others of its job leaves no room."""
        others = [w for name, w in self._waiting.items() if name != study.stored_name]
        taken = len(self._alive) + sum(math.ceil(len(w) / _together(w)) for w in others if w)
        free = (self.workers - taken) * study.cluster.trials_per_job
        return free - len(self._waiting.get(study.stored_name, []))

    def start(self, job: Job, remember: Remember) -> ClusterTrial:
        """Write down what the trial is; its job is submitted by `submit`."""
        folder = job.folder / JOB
        folder.mkdir()
        (folder / _JOB).write_bytes(pickle.dumps(job))
        started = ClusterTrial(job, self, remember)
        self._waiting.setdefault(job.study.stored_name, []).append(started)
        return started

    def submit(self) -> None:
        """Submit what waits, in as many jobs as it needs; where the cluster does not answer, later.

        Raises:
            SearcherError: The cluster refuses it.
        """
        if time.monotonic() < self._not_before:
            return
        try:
            for waiting in self._waiting.values():
                while waiting:
                    self._submit(waiting[: _together(waiting)])
        except Unreachable as error:
            self._not_before = time.monotonic() + self._interval
            self._once("submitting", f"{error}; jobs are submitted when it answers again")

    def _submit(self, together: Sequence[ClusterTrial]) -> None:
        first, study = together[0], together[0].job.study
        place = first.folder / "submitted"
        before = self._tried.get(place)
        name = before or f"searcher-{study.name}-{first.job.number}-{secrets.token_hex(4)}"
        told = {"engine": self.engine, "host": gethostname(), "name": name, "folder": str(place)}
        self._remember(together, told)
        self._tried[place] = name
        # A submission that failed may have come through all the same.
        job_id = self._jobs.named(place, name) if before else None
        if job_id is None:
            folders = [str(member.folder) for member in together]
            job_id = self._jobs.submit(study.cluster, place, name, len(together), self._program, folders)
        del self._tried[place]
        self._said.discard("submitting")
        self._remember(together, told | {"id": job_id})
        for member in together:
            self._joined(member, job_id)
            self._waiting[study.stored_name].remove(member)

    def _remember(self, together: Sequence[ClusterTrial], told: dict[str, Any]) -> None:
        """Write down what another driver would find the job by, where the job would be there for it."""
        if self.outlive:
            for member in together:
                member.remember(told)

    def _joined(self, member: ClusterTrial, job_id: str) -> None:
        member.id = job_id
        self._alive.setdefault(job_id, set()).add(member)

    def attach(self, job: Job, told: dict[str, Any]) -> ClusterTrial | None:
        """A trial whose job was submitted by another driver, also where its id was not written down.

        Raises:
            SearcherError: The job is elsewhere, or the cluster does not answer.
        """
        _check_here(self.engine, job.study, told)
        found = ClusterTrial(job, self, lambda told: None)
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

    def wait(self, running: Sequence[RunningTrial], seconds: float) -> None:
        """Wait, and ask the cluster about the jobs when it is time."""
        time.sleep(max(seconds, INTERVAL))

    def over(self, job_id: str) -> End | None:
        """Why a job is over, where it is, and its trials have had the time to be heard."""
        now = time.monotonic()
        if now - self._asked > self._interval:
            self._ask(now)
            self._asked = time.monotonic()
        if job_id not in self._over:
            return None
        since, end = self._over[job_id]
        late = 0.0 if self.engine != "slurm" else LATEST if end.well else LATE
        return end if now - since >= late else None

    def _ask(self, now: float) -> None:
        ids = [i for i in self._alive if i not in self._over]
        if not ids:
            return
        try:
            ends, complaint = self._jobs.ended(ids)
            self._over |= {job: (now, end) for job, end in ends.items()}
            self._said.discard("unreachable")
            if complaint:
                self._once("accounting", f"{complaint}; it is not known in full why jobs have ended")
        except Unreachable as error:
            self._once(
                "unreachable",
                f"{error}; jobs that die are noticed when it answers again, results come in as ever",
            )

    def left(self, member: ClusterTrial, *, cancel: bool) -> None:
        """A trial has ended, or is to end: then its job is cancelled where it was the last in it."""
        waiting = self._waiting.get(member.job.study.stored_name, [])
        if member in waiting:
            waiting.remove(member)
        others = self._alive.get(member.id, set())
        others.discard(member)
        if member.id and not others:
            self._alive.pop(member.id, None)
            if cancel and member.id not in self._over:
                self._cancel(member.id)
            self._over.pop(member.id, None)

    def _cancel(self, job_id: str) -> None:
        if "unreachable" in self._said:  # the trial has been told as well, in its folder
            return
        try:
            self._jobs.cancel([job_id])
        except Unreachable as error:
            self._once(
                "unreachable", f"{error}; a job that is not wanted any more ends by itself when it starts"
            )

    def met(self, host: Host) -> None:
        """A trial has started on a host."""
        if abs(host.ahead) > SKEW:
            side = "ahead of" if host.ahead > 0 else "behind"
            self._once(
                host.name,
                f"the clock of {host.name} is {abs(host.ahead):.0f} s {side} the file system's: "
                "results are right, times in its logs are not",
            )

    def _once(self, subject: str, line: str) -> None:
        if subject not in self._said:
            self._said.add(subject)
            self._say(line)


def _check_here(engine: str, study: Study, told: dict[str, Any]) -> None:
    """Whether what a driver has written down of a job means anything to this one.

    Raises:
        SearcherError: It does not.
    """
    there = told["engine"]
    ways = f"or end them: searcher cancel {study.stored_name}"
    if there != engine:
        raise SearcherError(f"jobs of {study.stored_name} are left: go on with --cluster {there}, {ways}")
    if there == "local" and told["host"] != gethostname():
        raise SearcherError(f"jobs of {study.stored_name} are left on {told['host']}: go on there, {ways}")


def cancel_jobs(left: Sequence[tuple[Path, dict[str, Any]]]) -> int:
    """Cancel the jobs of trials whose driver is gone.

    Args:
        left: Each trial's folder, and what was written down of its job.

    Returns:
        How many jobs there were.

    Raises:
        SearcherError: The cluster does not answer.
    """
    wanted: dict[Engine, set[str]] = {}
    try:
        for folder, told in left:
            forbid(folder / JOB)
            jobs = ENGINES[told["engine"]]()
            job_id = told.get("id") or jobs.named(Path(told["folder"]), told["name"])
            if job_id:
                wanted.setdefault(told["engine"], set()).add(job_id)
        for engine, ids in wanted.items():
            ENGINES[engine]().cancel(sorted(ids))
    except Unreachable as error:
        raise SearcherError(str(error)) from error
    return sum(map(len, wanted.values()))
