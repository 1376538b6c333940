"""Training a study's front again with other seeds: which points hold, and which were luck."""

import statistics
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from optuna.trial import FrozenTrial

from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.execution.launcher import cores
from searcher.execution.layout import STORE
from searcher.execution.local import run_jobs
from searcher.execution.messages import Done, Failed, Job, Killed, Outcome, Progress
from searcher.execution.metrics import on_split
from searcher.execution.results import stored_outcome
from searcher.searching.pareto import Front, non_dominated
from searcher.searching.records import TrialRecord

TEST = "test "
"""The prefix of a metric that is read on the test split."""


@dataclass(frozen=True)
class Verified:
    """A point of the front and what other seeds gave.

    Attributes:
        trial: The trial as the search has found it.
        seeds: The metrics of each of the other seeds, those of the test split with the prefix `TEST`.
        failures: Why other seeds gave nothing.
        verdict: ``holds``, or why the point was luck.
    """

    trial: FrozenTrial
    seeds: list[dict[str, float]]
    failures: list[str]
    verdict: str = ""

    def mean(self, key: str) -> float:
        """A metric's mean over the seeds; NaN without any."""
        return statistics.fmean(m[key] for m in self.seeds) if self.seeds else float("nan")

    def deviation(self, key: str) -> float:
        """A metric's standard deviation over the seeds; 0 of a single one."""
        values = [m[key] for m in self.seeds]
        return statistics.stdev(values) if len(values) > 1 else 0.0


class View(Protocol):
    """Shows the trainings while they run."""

    def progress(self, job: Job, progress: Progress) -> None:
        """A training is so far."""

    def told(self, job: Job, line: str) -> None:
        """A training has ended, as the line says."""

    def say(self, line: str) -> None:
        """Something of no one training is worth a user's attention."""


def verify(study: Study, points: Front, folder: Path, seeds: int, workers: int, view: View) -> list[Verified]:
    """Train every point of a front again; what an earlier call has measured is not trained again.

    Args:
        study: The stored study.
        points: Its front.
        folder: The study's folder; each training has one under ``verify/`` in it.
        seeds: Trainings a point, with the seeds that follow the study's.
        workers: Trainings at a time.
        view: Told of each training as it goes on, and at its end.

    Raises:
        SearcherError: There is no front.
    """
    if not points.trials:
        raise SearcherError(f"{study.stored_name} has no complete trial to verify")
    jobs = [_job(study, t, seed + 1, folder, workers) for t in points.trials for seed in range(seeds)]
    outcomes = _run(jobs, workers, view)
    verified = [
        Verified(
            trial,
            [o.metrics for o in _of(trial, outcomes) if isinstance(o, Done)],
            [o.reason for o in _of(trial, outcomes) if isinstance(o, Failed | Killed)],
        )
        for trial in points.trials
    ]
    return judge(study, verified)


def _of(trial: FrozenTrial, outcomes: Sequence[tuple[Job, Outcome]]) -> list[Outcome]:
    return [outcome for job, outcome in outcomes if job.number == trial.number]


def judge(study: Study, points: Sequence[Verified]) -> list[Verified]:
    """The points with their verdicts: each must stay feasible and on the front of the means."""
    counted = [point for point in points if point.seeds]
    signs = np.array([o.sign for o in study.objectives])
    costs = np.array([[point.mean(o.key) for o in study.objectives] for point in counted]) * signs
    best = {counted[i].trial.number for i in non_dominated(costs)} if counted else set()
    return [Verified(p.trial, p.seeds, p.failures, _verdict(study, p, best)) for p in points]


def _verdict(study: Study, point: Verified, best: set[int]) -> str:
    if not point.seeds:
        return "failed again: " + "; ".join(sorted(set(point.failures)))
    found = TrialRecord.of(point.trial).metrics
    for constraint in study.constraints:
        if (
            constraint.violation(point.mean(constraint.key))
            > 0
            >= constraint.violation(found[constraint.key])
        ):
            return f"luck: {constraint} does not hold on average"
    if point.trial.number not in best:
        return "luck: another point is better on average"
    return "holds"


def _job(study: Study, trial: FrozenTrial, offset: int, folder: Path, workers: int) -> Job:
    seed = study.seed + offset
    place = folder.absolute() / "verify" / f"trial-{trial.number:05}-seed-{seed}"
    recipe = TrialRecord.of(trial).recipe
    other = study.model_copy(update={"seed": seed})
    store = folder.absolute().parent / STORE if study.store else None
    return Job(other, trial.number, recipe, place, max(1, cores() // workers), store, test=True)


def _run(jobs: Sequence[Job], workers: int, view: View) -> list[tuple[Job, Outcome]]:
    stored = [(job, stored_outcome(job.folder, job.recipe)) for job in jobs]
    outcomes: list[tuple[Job, Outcome]] = [(job, done) for job, done in stored if done]
    left = [job for job, done in stored if not done]
    with closing(run_jobs(left, workers, view.progress, view.say)) as running:
        for job, outcome in running:
            outcomes.append((job, outcome))
            view.told(job, _line(job, outcome, len(outcomes), len(jobs)))
    return outcomes


def _line(job: Job, outcome: Outcome, done: int, total: int) -> str:
    if isinstance(outcome, Done):
        quality = on_split(job.study.measured())
        text = ", ".join(f"{m.key} {outcome.metrics[m.key]:.4f}" for m in quality)
    else:
        assert isinstance(outcome, Failed | Killed)
        text = f"FAILED: {outcome.reason}"
    return f"[{done}/{total}] trial {job.number}, seed {job.study.seed}: {text}"
