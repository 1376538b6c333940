"""Studies as they are stored: their trials, and what each was when it ran last."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from pydantic import ValidationError

from searcher.config.given import is_given, word
from searcher.config.study import Study
from searcher.config.toml import problems
from searcher.errors import SearcherError, no_room, unknown
from searcher.searching.records import CAME_WITH
from searcher.searching.storage.backends import is_stored, open_storage, reopen_storage
from searcher.searching.storage.driver_lock import last_driven
from searcher.searching.storage.guarded import standing

optuna.logging.set_verbosity(optuna.logging.WARNING)


def stored_names(runs: Path) -> list[str]:
    """The names of the stored studies, the one that ran last first."""
    return _names(runs, reopen_storage(runs)) if is_stored(runs) else []


def _names(runs: Path, storage: BaseStorage) -> list[str]:
    studies = storage.get_all_studies()
    if not studies and (still := standing(runs)):
        raise SearcherError(f"the storage of {runs} holds no study{still}")
    names = [study.study_name for study in studies if _begun(study)]
    return sorted(names, key=lambda name: last_driven(runs / name), reverse=True)


def _begun(study: FrozenStudy) -> bool:
    """Whether a study was stored whole: a driver may die between its creation and the first trial."""
    return "study" in study.user_attrs


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
    stored = optuna.load_study(study_name=stored_name, storage=reopen_storage(runs))
    try:
        study = Study.model_validate_json(stored.user_attrs["study"])
    except (KeyError, ValidationError) as error:
        said = problems(Study, _content(stored.user_attrs.get("study")), "the study")
        raise SearcherError(
            f"study {stored_name} in {runs} is damaged or of another version: {'; '.join(said[:3])}"
            f"{standing(runs)}"
        ) from error
    study.learn(stored.user_attrs.get(CAME_WITH, {}))
    return stored, study


def _content(text: object) -> object:
    try:
        return json.loads(str(text))
    except ValueError:
        return text


def kept_identity(runs: Path, stored: optuna.Study) -> dict[str, Any]:
    """The identity of a stored study, as it was when it was stored.

    Raises:
        SearcherError: It was not kept, or is damaged.
    """
    kept = stored.user_attrs.get("identity")
    if isinstance(kept, dict) and "data fingerprint" in kept:
        return kept
    raise SearcherError(
        f"study {stored.study_name} in {runs} is damaged: "
        f"its identity (task, data, space, metrics) is missing{standing(runs)}"
    )


def create_or_load(runs: Path, study: Study, identity: dict[str, Any]) -> optuna.Study:
    """The stored study, which must have the same identity.

    Raises:
        SearcherError: It was stored with another task, space, objectives, constraints or training budget.
    """
    storage, name = open_storage(runs), study.stored_name
    before = {study.study_name: study for study in storage.get_all_studies()}
    if name in before and _begun(before[name]):
        stored = optuna.load_study(study_name=name, storage=storage)
        _refuse_changes(runs, name, kept_identity(runs, stored), identity)
    else:
        if name in before:
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
        f"  {key}: {_change(before.get(key), value)}"
        for key, value in now.items()
        if before.get(key) != value
    ]
    if changed:
        raise SearcherError(
            "\n".join(
                [
                    f"study {name} in {runs} has changed since it was stored:",
                    *changed,
                    "change it back, or search anew: in another runs folder, or under another name",
                ]
            )
        )


def _change(before: Any, now: Any) -> str:
    names = [one.get("name", "") if isinstance(one, dict) else "" for one in (before, now)]
    if all(map(is_given, names)) and word(names[0]) == word(names[1]):
        return (
            f"the {word(names[1])} that was given has other weights, or other code, than the one before; "
            "where they are drawn, torch.manual_seed ahead of it draws the same"
        )
    return f"stored {before}, now {now}"


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
