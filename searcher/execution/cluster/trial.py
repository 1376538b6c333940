"""A trial in a job, as its driver sees it."""

from collections.abc import Callable

from searcher.execution.cluster.base import End
from searcher.execution.cluster.mailbox import Mailbox
from searcher.execution.cluster.watcher import Watcher
from searcher.execution.launcher import Remember
from searcher.execution.layout import JOB
from searcher.execution.messages import Failed, Job, Killed, Outcome, Progress


class ClusterTrial:
    """A trial in a job, which it may share with others.

    Args:
        job: What the trial is.
        watcher: Knows whether the cluster's job is over.
        left: Called when the trial has ended, and with True where its job is not wanted any more.
        remember: Writes down where the trial runs.
    """

    def __init__(
        self, job: Job, watcher: Watcher, left: Callable[["ClusterTrial", bool], None], remember: Remember
    ) -> None:
        self.job, self.folder = job, job.folder / JOB
        self.remember = remember
        self.id = ""
        self._watcher, self._left = watcher, left
        self._mailbox = Mailbox(self.folder, job, watcher.met)
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether the job has left the queue."""
        return self._mailbox.begun

    def events(self) -> list[Progress | Outcome]:
        """The trial's messages; where its job is over without any, the reason."""
        if self._ended or not self.id:
            return []
        over = self._watcher.over(self.id)
        events = self._mailbox.read()
        if not (events and isinstance(events[-1], Outcome)):
            result = self._mailbox.result() if over or self._mailbox.done else None
            if result:
                events.append(result)
            elif over:
                events.append(self._why(over))
        if events and isinstance(last := events[-1], Failed):
            events[-1] = last.beside((self.job.study.cluster.trials_per_gpu or 1) - 1, counts=True)
        self._ended = bool(events) and isinstance(events[-1], Outcome)
        return events

    def _why(self, end: End) -> Killed:
        if self._mailbox.stopped:
            return Killed("cancelled", counts=False)
        self._mailbox.stop()  # where the cluster is wrong, or slow: nobody hears this trial any more
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
        self._left(self, wanted)
