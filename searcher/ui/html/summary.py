"""A study's reference beside one of its trials, as a section of the study's page."""

from pathlib import Path

from optuna.trial import FrozenTrial

from searcher.config.study import Study
from searcher.execution.layout import figures_of, trial_folder
from searcher.searching.records import TrialRecord
from searcher.ui.comparison import BETTER, Change, changes, class_changes, class_headings
from searcher.ui.html import page
from searcher.ui.html.page import Cell, Section
from searcher.ui.reference import reference_figures, trial_figures


def summary(study: Study, trial: FrozenTrial, chosen: str, folder: Path) -> Section:
    """The reference's figures and the trial's, and what changed.

    Args:
        study: The stored study.
        trial: A complete trial of it.
        chosen: Why it is this one.
        folder: Where the trials' folders are.
    """
    before = reference_figures(study)
    known = before if isinstance(before, dict) else {}
    record = TrialRecord.of(trial)
    own = trial_figures(trial_folder(folder, trial.number)) | record.metrics | figures_of(record.measured)
    goals = {o.key: o.goal for o in study.objectives}
    rows: list[list[Cell | str]] = [[c.label, *_cells(c)] for c in changes(known, own, goals)]
    classes: list[list[Cell | str]] = [
        [name, *(page.amount(c.after) for c in every)] for name, every in class_changes({}, own)
    ]
    name = study.reference.words() if study.reference else ""
    reason = "" if known else f" No figures of a network before: {before}."
    return Section(
        "Before and after",
        [
            page.table(["figure", "before", "after", "change"], rows),
            *(
                [page.folded("By class", [page.table(["class", *class_headings(own)], classes)])]
                if classes
                else []
            ),
        ],
        (f"Before: {name}, the study's reference, counted from shapes and not trained. " if known else "")
        + f"After: trial {trial.number}, {chosen}; quality is read on validation data.{reason}",
    )


def _cells(change: Change) -> list[Cell]:
    mark = "" if not change.verdict else "good" if change.verdict == BETTER else "bad"
    figures = [page.amount(text) for text in (change.before or "not measured", change.after)]
    return [*figures, page.amount(change.said, mark=mark)]
