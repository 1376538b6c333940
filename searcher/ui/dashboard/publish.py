"""Additions to Optuna's dashboard: the feasible front, and a note and files for each trial."""

import json
import mimetypes
import uuid
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import FrozenTrial
from optuna_dashboard import save_plotly_graph_object
from optuna_dashboard._note import note_ver_key, split_body

from searcher.config.study import Study
from searcher.execution.curve import CURVE
from searcher.execution.layout import trial_folder
from searcher.searching.pareto import front
from searcher.searching.storage.studies import load
from searcher.ui.dashboard.notes import note
from searcher.ui.html import plots
from searcher.ui.terminal.trials import complete_trials

FILES = ("recipe.toml", "log.txt", CURVE, "error.txt")
"""The files of a trial's folder that the dashboard offers."""

_ARTIFACTS = "artifacts"
FRONT_ID = "feasible-front"
_FAILURES = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError)


def artifact_store(runs: Path) -> FileSystemArtifactStore:
    """The folder in which the dashboard finds the files of trials."""
    return FileSystemArtifactStore(runs / _ARTIFACTS)


def publish(runs: Path, stored_name: str) -> str:
    """Save what the dashboard is to show of a study; what is saved already is left as it is.

    Nothing of it is needed by a search, so that a storage which cannot be written is no error.

    Returns:
        Why it could not be saved; empty where it could.
    """
    try:
        stored, study = load(runs, stored_name)
        _save_front(study, stored)
        _save_trials(study, stored, runs)
    except _FAILURES as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        return f"{stored_name}: the dashboard lacks the front, notes and files: {str(cause).splitlines()[0]}"
    return ""


def _save_front(study: Study, stored: optuna.Study) -> None:
    trials = complete_trials(stored)
    if not trials:
        return
    feasible = front(study, trials).feasible
    title = "Feasible front" if feasible else "Nothing feasible: front without constraints"
    for position, pair in enumerate(plots.pairs(study)):
        chart = plots.front_figure(study, trials, pair)
        chart.update_layout(
            title={"text": title, "x": 0.02, "font": {"size": 15}}, margin={"t": 60}, height=450
        )
        save_plotly_graph_object(stored, chart, graph_object_id=_front_id(position))


def _front_id(position: int) -> str:
    return FRONT_ID if position == 0 else f"{FRONT_ID}-{position + 1}"


def _save_trials(study: Study, stored: optuna.Study, runs: Path) -> None:
    """Notes and files of the trials that ended and have none yet."""
    saved = stored._storage.get_study_system_attrs(stored._study_id)
    store = artifact_store(runs)
    (runs / _ARTIFACTS).mkdir(exist_ok=True)
    for trial in stored.get_trials(deepcopy=False):
        if trial.state.is_finished() and note_ver_key(trial._trial_id) not in saved:
            folder = trial_folder(runs / stored.study_name, trial.number)
            for name in FILES:
                _save_file(stored, trial, folder / name, store)
            _save_note(stored, trial, note(study, trial, folder))


def _save_note(stored: optuna.Study, trial: FrozenTrial, body: str) -> None:
    """As `optuna_dashboard.save_note`, whose every call reads the notes of all trials.

    The version comes last: with it the note counts as saved.
    """
    _set(stored, split_body(body, trial._trial_id) | {note_ver_key(trial._trial_id): 1})


def _save_file(stored: optuna.Study, trial: FrozenTrial, path: Path, store: FileSystemArtifactStore) -> None:
    """Keep a file where the dashboard looks for those of a trial that ended: in an attribute of the study.

    `optuna.artifacts.upload_artifact` writes to the trial, which is refused after it was told.
    """
    if not path.is_file():
        return
    name = f"{stored.study_name}/{trial.number}/{path.name}"
    identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    with path.open("rb") as file:
        store.write(identifier, file)
    kind = mimetypes.guess_type(path.name)[0] or "text/plain"
    meta = {"artifact_id": identifier, "filename": path.name, "mimetype": kind, "encoding": None}
    _set(stored, {f"dashboard:artifacts:{trial._trial_id}:{identifier}": json.dumps(meta)})


def _set(stored: optuna.Study, attributes: dict[str, Any]) -> None:
    for key, value in attributes.items():
        stored._storage.set_study_system_attr(stored._study_id, key, value)
