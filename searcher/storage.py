"""What is stored of studies: their trials, and what each was when it ran last."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.study import StudySummary

from searcher.backends import is_stored, open_storage
from searcher.driving import last_driven
from searcher.errors import SearcherError, no_room, unknown
from searcher.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)


def stored_names(runs: Path) -> list[str]:
    """The names of the stored studies, the one that ran last first."""
    if not is_stored(runs):
        return []
    summaries = optuna.get_all_study_summaries(open_storage(runs))
    names = [s.study_name for s in summaries if _begun(s)]
    return sorted(names, key=lambda name: last_driven(runs / name), reverse=True)


def _begun(summary: StudySummary) -> bool:
    """Whether a study was stored whole: a driver may die between its creation and the first trial."""
    return "study" in summary.user_attrs


def resolve(runs: Path, name: str) -> tuple[str, str]:
    """The stored study that a name means, and a line where it could have meant another.

    `micronet` means the one of `micronet@digits`, `micronet@cifar10`, ... that ran last.

    Raises:
        SearcherError: None is stored under that name.
    """
    names = stored_names(runs)
    if not names:
        raise SearcherError(f"nothing is stored in {runs} yet; searcher run --study {name} begins")
    if name in names:
        return name, ""
    fitting = [stored for stored in names if stored.partition("@")[0] == name]
    if not fitting:
        raise unknown(f"study stored in {runs}", name, names)
    others = ", ".join(fitting[1:])
    return fitting[0], f"{fitting[0]} (ran last; also stored: {others})" if others else ""


def load(runs: Path, stored_name: str) -> tuple[optuna.Study, Study]:
    """A stored study's trials, and the study as it was when it ran last."""
    stored = optuna.load_study(study_name=stored_name, storage=open_storage(runs))
    return stored, Study.model_validate_json(stored.user_attrs["study"])


def create_or_load(runs: Path, study: Study, identity: dict[str, Any]) -> optuna.Study:
    """The stored study, which must have the same identity.

    Raises:
        SearcherError: It was stored with another task, space, objectives, constraints or training budget.
    """
    storage, name = open_storage(runs), study.stored_name
    summaries = {summary.study_name: summary for summary in optuna.get_all_study_summaries(storage)}
    if name in summaries and _begun(summaries[name]):
        stored = optuna.load_study(study_name=name, storage=storage)
        _refuse_changes(runs, name, stored.user_attrs["identity"], identity)
    else:
        if name in summaries:
            optuna.delete_study(study_name=name, storage=storage)
        goals = [o.goal for o in study.objectives]
        stored = optuna.create_study(study_name=name, storage=storage, directions=goals)
        with experimental():
            stored.set_metric_names([o.key for o in study.objectives])
        stored.set_user_attr("identity", identity)
    stored.set_user_attr("study", study.model_dump_json())
    return stored


def _refuse_changes(runs: Path, name: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [
        f"  {key}: stored {before.get(key)}, now {value}"
        for key, value in now.items()
        if before.get(key) != value
    ]
    if changed:
        raise SearcherError(
            "\n".join(
                [
                    f"study {name} in {runs} has changed since it was stored:",
                    *changed,
                    "change it back, or search anew: another --runs-dir, or a study file of another name",
                ]
            )
        )


@contextmanager
def experimental() -> Iterator[None]:
    """Without Optuna's warnings that a feature is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


@contextmanager
def room(runs: Path) -> Iterator[None]:
    """Within it, a full disk is one message; what was stored before stays.

    Raises:
        SearcherError: There is no room left.
    """
    try:
        yield
    except (OSError, sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        if not no_room(error):
            raise
        raise SearcherError(
            f"the disk of {runs} is full; what is stored is whole: make room (searcher store gc --max-size), "
            "the same command goes on"
        ) from error
