"""A launcher that starts nothing."""

from collections.abc import Sequence
from typing import Any

from searcher.execution.messages import Job, Outcome, Progress


class Pretended:
    """A trial that says what it is told to say."""

    begun = True

    def __init__(self, job: Job) -> None:
        self.job, self.says = job, list[Progress | Outcome]()
        self.went_on: list[int] = []
        self.stopped = False

    def events(self) -> list[Progress | Outcome]:
        said, self.says = self.says, []
        return said

    def go_on(self, rung: int) -> None:
        self.went_on.append(rung)

    def stop(self) -> None:
        self.stopped = True


class FakeLauncher:
    """Starts nothing."""

    workers = 2

    def __init__(self, outlive: bool = False) -> None:
        self.outlive = outlive
        self.started: list[Pretended] = []
        self.left: list[int] = []

    def prepare(self) -> None:
        pass

    def end(self) -> None:
        pass

    def threads(self, study: object) -> int:
        return 1

    def room(self, running: Sequence[object], study: object) -> int:
        return self.workers - len(running)

    def start(self, job: Job, remember: Any) -> Pretended:
        if self.outlive:
            remember({"engine": "fake"})
        self.started.append(Pretended(job))
        return self.started[-1]

    def submit(self) -> None:
        pass

    def attach(self, job: Job, told: dict[str, Any]) -> Pretended | None:
        return Pretended(job) if job.number in self.left else None

    def wait(self, running: Sequence[object], seconds: float) -> None:
        pass
