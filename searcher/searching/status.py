"""The progress of stored studies: trials done, running and waiting, the front, the time left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from searcher.config.study import Study
from searcher.execution.layout import JOB, SAID, trial_folder
from searcher.searching.indicators import Hypervolume, hypervolume
from searcher.searching.pareto import Front, front
from searcher.searching.records import FAILED, INFEASIBLE, STOPPED, Ended, TrialRecord, ended
from searcher.searching.storage import studies
from searcher.searching.storage.driver_lock import driver

PACE_WINDOW = 20
"""The trials that ended last, whose pace the time left is estimated by."""


@dataclass(frozen=True)
class Status:
    """A study's progress.

    Attributes:
        study: The study.
        driver: The host and process id of its driver, None where none runs.
        over: The trials that have ended, by how.
        running: Trials that have begun.
        queued: Trials whose job waits.
        front: Its front.
        hypervolume: The share of its box that the front dominates, None where there is none.
        seconds_left: By the pace of the trials that ended last, None where it cannot be told.
    """

    study: Study
    driver: str | None
    over: Ended
    running: int
    queued: int
    front: Front
    hypervolume: float | None
    seconds_left: float | None

    @property
    def finished(self) -> int:
        """Trials that count towards the budget."""
        return len(self.over.counted)

    @property
    def spent(self) -> bool:
        """Whether no trial is left of the budget."""
        return self.finished >= self.study.budget.trials

    @property
    def counts(self) -> str:
        """The number of trials in each state, in words."""
        return ", ".join(f"{count} {name}" for name, count in self._counts.items() if count)

    @property
    def record(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {
            "study": self.study.stored_name,
            "trials": self.study.budget.trials,
            "finished": self.finished,
            **self._counts,
            "front": len(self.front.trials),
            "feasible": self.front.feasible,
            "hypervolume": self.hypervolume,
            "seconds left": self.seconds_left,
            "driver": self.driver,
        }

    @property
    def _counts(self) -> dict[str, int]:
        return {
            "complete": len(self.over.complete),
            STOPPED: len(self.over.stopped),
            FAILED: len(self.over.failed),
            INFEASIBLE: len(self.over.infeasible),
            "damaged": len(self.over.damaged),
            "running": self.running,
            "queued": self.queued,
        }


def status(runs: Path, name: str) -> Status:
    """The progress of a stored study."""
    stored, study = studies.load(runs, name)
    trials = stored.get_trials(deepcopy=False)
    over = ended(trials)
    under_way = [t for t in trials if t.state == TrialState.RUNNING]
    queued = [t for t in under_way if TrialRecord.of(t).job and not _begun(runs / name, t)]
    driven_by = driver(runs / name)
    left = study.budget.trials - len(over.counted)
    return Status(
        study=study,
        driver=driven_by,
        over=over,
        running=len(under_way) - len(queued),
        queued=len(queued),
        front=front(study, over.complete),
        hypervolume=_share(study, over.complete),
        seconds_left=_seconds_left(over.counted, left) if driven_by else None,
    )


def _begun(folder: Path, trial: FrozenTrial) -> bool:
    return (trial_folder(folder, trial.number) / JOB / SAID).exists()


def _share(study: Study, complete: Sequence[FrozenTrial]) -> float | None:
    found = hypervolume(study, complete)
    return found.shares[-1] if isinstance(found, Hypervolume) and found.shares else None


def _seconds_left(ended: Sequence[FrozenTrial], left: int) -> float | None:
    times = sorted(t.datetime_complete for t in ended if t.datetime_complete)[-PACE_WINDOW:]
    if len(times) < 2:
        return None
    return max(0, left) * (times[-1] - times[0]).total_seconds() / (len(times) - 1)
