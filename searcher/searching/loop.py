"""The loop that drives studies: each asks for trials in its turn, until nothing is left to do."""

import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna

from searcher import tasks
from searcher.config.study import Study
from searcher.errors import Cancelled, SearcherError
from searcher.execution.launcher import Launcher, RunningTrial
from searcher.execution.layout import STORE
from searcher.searching import data, records
from searcher.searching.ask import known_front
from searcher.searching.check import check_parts
from searcher.searching.driver import Driver
from searcher.searching.exclusions import greedy
from searcher.searching.identity import identify
from searcher.searching.loading import Space
from searcher.searching.state import State, View
from searcher.searching.storage import backends, driver_lock
from searcher.searching.storage.studies import create_or_load, room


def search(study: Study, runs: Path, launcher: Launcher, view: View, stored_in: str | None = None) -> State:
    """Run a study until its budget of trials is spent; a stored study goes on where it was.

    Raises:
        SearcherError: The study cannot be searched as it is, or another driver runs it.
        KeyboardInterrupt: After Ctrl-C, when nothing is half told.
        Cancelled: After `searcher cancel`.
    """
    return search_all([study], runs, launcher, view, stored_in)[0]


def search_all(
    studies: Sequence[Study], runs: Path, launcher: Launcher, view: View, stored_in: str | None = None
) -> list[State]:
    """Run several studies at once, which share the launcher's workers: each starts a trial in its turn.

    Trials that outlive their driver go on after Ctrl-C, and are found again.

    Args:
        studies: What to search.
        runs: The runs folder.
        launcher: Where the trials run.
        view: What shows them.
        stored_in: Where the runs folder stores its trials, as `backends.choose` takes it.

    Raises:
        SearcherError: A study cannot be searched as it is, or another driver runs it.
        KeyboardInterrupt: After Ctrl-C, when nothing is half told.
        Cancelled: After `searcher cancel`.
    """
    with _first_interrupt() as interrupted, ExitStack() as all_held:
        spaces = [check_parts(study, runs / STORE) for study in studies]
        all_held.callback(launcher.end)
        launcher.prepare()
        identities = [identify(study) for study in studies]
        backends.make_runs(runs)
        all_held.enter_context(room(runs))
        backends.choose(runs, stored_in, cluster=launcher.outlive)
        held: dict[Driver, ExitStack] = {}
        for study, space, identity in zip(studies, spaces, identities, strict=True):
            own = all_held.enter_context(ExitStack())
            driver = own.enter_context(_driver(study, space, identity, runs, launcher, view))
            held[driver] = own
        _drive(held, launcher, interrupted)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if all(driver.cancelled for driver in held):
        raise Cancelled
    return [driver.state for driver in held]


@contextmanager
def _driver(
    study: Study, space: Space, identity: dict[str, Any], runs: Path, launcher: Launcher, view: View
) -> Iterator[Driver]:
    asked = study.warm_start
    warm = known_front(runs, asked.study) if asked and asked.study else []
    folder = runs.absolute() / study.stored_name
    with driver_lock.one_driver(folder):
        stored = create_or_load(runs, study, identity)
        _refuse_damage(study, runs, stored)
        _tell_data(study, stored, runs)
        if "warm_start" not in stored.user_attrs:
            if asked and asked.sensitivity:
                warm += greedy(study, space, runs)
            stored.set_user_attr("warm_start", warm)
        driver = Driver(study, stored, space, folder, launcher, view)
        try:
            driver.begin()
            yield driver
        finally:
            driver.end()


def _tell_data(study: Study, stored: optuna.Study, runs: Path) -> None:
    """Keep what a reader is shown of a user's own data."""
    if study.task not in tasks.TASKS:
        task = tasks.of(study).load()
        stored.set_user_attr("data", data.lines(task))
        data.save_sheet(study, runs, task)


def _refuse_damage(study: Study, runs: Path, stored: optuna.Study) -> None:
    """Suggestions and early stopping rest on all the trials: none of them may be unreadable."""
    if said := records.damaged(stored.get_trials(deepcopy=False)):
        raise SearcherError(
            f"{study.stored_name} in {runs} cannot go on: {said}; searcher show {study.stored_name} shows "
            "the others: put a copy of the storage back, or search anew in another --runs-dir"
        )


def _drive(held: Mapping[Driver, ExitStack], launcher: Launcher, interrupted: threading.Event) -> None:
    """Let the drivers work until nothing is left to do; one that is cancelled ends at once."""
    while not interrupted.is_set() and any(driver.alive for driver in held):
        _fill(list(held), launcher, interrupted)
        launcher.wait(_running(held), 0.25)
        for driver, own in held.items():
            if not driver.cancelled:
                driver.collect()
                if driver.cancelled:
                    own.close()


def _running(drivers: Iterable[Driver]) -> list[RunningTrial]:
    return [running.process for driver in drivers for running in driver.state.running.values()]


def _fill(drivers: list[Driver], launcher: Launcher, interrupted: threading.Event) -> None:
    """Start trials where there is room for them, the next one of the study that has the fewest."""
    wanting = drivers.copy()
    while wanting and not interrupted.is_set():
        driver = min(wanting, key=lambda d: len(d.state.running))
        if launcher.room(_running(drivers), driver.study) <= 0 or not driver.start_one():
            wanting.remove(driver)
    launcher.submit()


@contextmanager
def _first_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that nothing is cut off half told; the second cuts off."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # which alone hears of Ctrl-C
        yield event
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        event.set()

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
