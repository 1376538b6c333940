"""Ending a study's driver and trials from another process, on any host that sees the runs folder."""

import time
from pathlib import Path

from optuna.trial import TrialState

from searcher import driving, storage
from searcher.errors import SearcherError
from searcher.jobs import cancel_jobs
from searcher.recover import place

PATIENCE = 60.0
"""Seconds in which a driver should have ended."""


def cancel(runs: Path, name: str) -> str:
    """End the driver of a stored study and its trials, or the jobs that a driver has left; what was done.

    Raises:
        SearcherError: The driver does not end, or the cluster does not answer.
    """
    folder = runs / name
    driver = driving.driver(folder)
    if driver:
        driving.cancel(folder)
        _await_end(folder, driver)
        return f"its driver ({driver}) has ended, and its trials"
    with driving.one_driver(folder):
        count = _cancel_left(runs, name)
    return f"{count} jobs without a driver are cancelled" if count else "nothing runs"


def _await_end(folder: Path, driver: str) -> None:
    begun = time.monotonic()
    while driving.driver(folder):
        if time.monotonic() - begun > PATIENCE:
            raise SearcherError(f"its driver ({driver}) was asked to end and has not within {PATIENCE:.0f} s")
        time.sleep(0.2)


def _cancel_left(runs: Path, name: str) -> int:
    stored, _ = storage.load(runs, name)
    left = stored.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    jobs = [(place(runs / name, t.number), t.user_attrs["job"]) for t in left if "job" in t.user_attrs]
    return cancel_jobs(jobs)
