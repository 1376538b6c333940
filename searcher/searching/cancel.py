"""Ending a study's driver and trials from another process, on any host that sees the runs folder."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from searcher.errors import SearcherError
from searcher.execution.cluster.launcher import cancel_jobs
from searcher.execution.layout import trial_folder
from searcher.execution.results import stored_outcome
from searcher.searching.records import TrialRecord
from searcher.searching.storage import driver_lock, studies
from searcher.searching.storage.trials import StoredTrials

PATIENCE = 60.0
"""Seconds in which a driver should have ended."""


def cancel(runs: Path, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """End the drivers of stored studies and their trials, and the jobs that drivers have left.

    Yields:
        Each study's name, and what was done.

    Raises:
        SearcherError: A driver does not end, or the cluster does not answer.
    """
    drivers = {name: driver_lock.driver(runs / name) for name in names}
    for name, driver in drivers.items():
        if driver:
            driver_lock.cancel(runs / name)
    for name, driver in drivers.items():
        if driver:
            _await_end(runs / name, driver)
            yield name, f"its driver ({driver}) has ended, and its trials"
        else:
            with driver_lock.one_driver(runs / name, drives=False):
                yield name, _cancel_left(runs, name)


def _await_end(folder: Path, driver: str) -> None:
    begun = time.monotonic()
    while driver_lock.driver(folder):
        if time.monotonic() - begun > PATIENCE:
            raise SearcherError(f"its driver ({driver}) was asked to end and has not within {PATIENCE:.0f} s")
        time.sleep(0.2)


def _cancel_left(runs: Path, name: str) -> str:
    """Cancel what a driver has left, and put it back; what has a result is for the next driver to tell."""
    stored, study = studies.load(runs, name)
    trials = StoredTrials(study, stored)
    left, jobs = [], []
    for trial in trials.running():
        record, place = TrialRecord.of(trial), trial_folder(runs / name, trial.number)
        if record.has_recipe and not stored_outcome(place, record.recipe):
            left.append(trial)
            jobs += [(place, record.job)] if record.job else []
    count = cancel_jobs(jobs)
    for trial in left:
        trials.put_back(trials.reopen(trial), "cancelled")
    return f"{count} jobs without a driver are cancelled" if count else "nothing runs"
