"""Knows which jobs are over, and says what a user should hear of the cluster."""

import math
import time
from collections.abc import Callable

from searcher.execution.cluster.base import End, Jobs, Unreachable
from searcher.execution.cluster.mailbox import Host

MAX_CLOCK_SKEW_S = 30.0
"""Seconds that a host's clock may be off before it is said."""


class Notices:
    """Notices, each said once a subject until it is settled."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._open: set[str] = set()

    def once(self, subject: str, line: str) -> None:
        """Say a line, unless one of the subject was said."""
        if subject not in self._open:
            self._open.add(subject)
            self._say(line)

    def settle(self, subject: str) -> None:
        """Say the subject's next line again."""
        self._open.discard(subject)

    def __contains__(self, subject: str) -> bool:
        return subject in self._open


class Watcher:
    """Asks at an interval which jobs are over.

    Args:
        jobs: Where they run.
        interval_s: Seconds between two questions.
        notices: Where it is said that there is no answer.
        now: A clock, in seconds.
    """

    def __init__(
        self, jobs: Jobs, interval_s: float, notices: Notices, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._jobs, self._interval_s, self._notices, self._now = jobs, interval_s, notices, now
        self._watched: dict[str, tuple[float, End] | None] = {}
        self._asked = -math.inf

    def watch(self, job_id: str) -> None:
        """Ask about a job from now on."""
        self._watched.setdefault(job_id, None)

    def forget(self, job_id: str) -> None:
        """Ask about a job no more."""
        self._watched.pop(job_id, None)

    def over(self, job_id: str) -> End | None:
        """Why a job is over, where it is, and its trials have had the time to be heard."""
        now = self._now()
        if now - self._asked > self._interval_s:
            self._ask(now)
            self._asked = self._now()
        ended = self._watched.get(job_id)
        if ended is None:
            return None
        since, end = ended
        return end if now - since >= self._jobs.grace_s(end) else None

    def _ask(self, now: float) -> None:
        ids = [job_id for job_id, ended in self._watched.items() if ended is None]
        if not ids:
            return
        try:
            ends, complaint = self._jobs.ended(ids)
            self._watched |= {job_id: (now, end) for job_id, end in ends.items()}
            self._notices.settle("unreachable")
            if complaint:
                self._notices.once("accounting", f"{complaint}; it is not known in full why jobs have ended")
        except Unreachable as error:
            self._notices.once(
                "unreachable",
                f"{error}; jobs that die are noticed when it answers again, results come in as ever",
            )

    def cancel(self, job_id: str) -> None:
        """End a job that is not over; its trials have been told as well, in their folders."""
        if self._watched.get(job_id) or "unreachable" in self._notices:
            return
        try:
            self._jobs.cancel([job_id])
        except Unreachable as error:
            self._notices.once(
                "unreachable", f"{error}; a job that is not wanted any more ends by itself when it starts"
            )

    def met(self, host: Host) -> None:
        """A trial has started on a host."""
        if abs(host.ahead) > MAX_CLOCK_SKEW_S:
            side = "ahead of" if host.ahead > 0 else "behind"
            self._notices.once(
                host.name,
                f"the clock of {host.name} is {abs(host.ahead):.0f} s {side} the file system's: "
                "results are right, times in its logs are not",
            )
