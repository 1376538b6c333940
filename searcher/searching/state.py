"""The state of a search: its trials under way, what is finished, the front so far."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial

from searcher.config.study import Study
from searcher.execution.launcher import RunningTrial
from searcher.execution.messages import Outcome, Progress
from searcher.searching.pareto import Front, front
from searcher.searching.records import Ended, TrialRecord


@dataclass
class Running:
    """A trial under way; `predicted` has the metrics that are known before it is trained."""

    trial: optuna.Trial
    process: RunningTrial
    started: float
    progress: Progress
    predicted: dict[str, float] = field(default_factory=dict)


@dataclass
class State:
    """A search as a view shows it.

    `reused` are among the complete; `infeasible` do not count towards the budget. `cpu_seconds` is the
    processor time of the trials that this driver has run.
    """

    study: Study
    workers: int
    started: float = field(default_factory=time.monotonic)
    running: dict[int, Running] = field(default_factory=dict)
    complete: list[FrozenTrial] = field(default_factory=list)
    front: Front = field(default_factory=lambda: Front([], feasible=False))
    failed: int = 0
    stopped: int = 0
    reused: int = 0
    infeasible: int = 0
    earlier: int = 0
    cpu_seconds: float = 0.0

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return len(self.complete) + self.failed + self.stopped

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        """Count trials that are complete, and bring the front up to date."""
        self.complete.extend(trials)
        self.front = front(self.study, self.complete)

    def restore(self, before: Ended) -> None:
        """Count the trials that ended under earlier drivers."""
        self.add(before.complete)
        self.reused = sum(TrialRecord.of(t).reused is not None for t in before.complete)
        self.stopped, self.infeasible = len(before.stopped), len(before.infeasible)
        self.failed = len(before.failed)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace so far; None before the first trial is done."""
        done = self.finished - self.earlier
        if done <= 0:
            return None
        return (time.monotonic() - self.started) / done * (self.study.budget.trials - self.finished)

    @property
    def counts(self) -> list[tuple[int, str]]:
        """Counts of trials by how they ended; ways that did not happen are left out, but for the complete."""
        every = [
            (len(self.complete), "complete"),
            (self.reused, "of them reused"),
            (self.stopped, "stopped early"),
            (self.infeasible, "infeasible"),
            (self.failed, "failed"),
        ]
        return [(count, name) for count, name in every if count or name == "complete"]


class View(Protocol):
    """The interface of views of a running search."""

    def update(self, state: State) -> None:
        """Something changed, or a fraction of a second went by."""

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """A trial ended."""
