"""The page of a stored study: what was searched, the front, how the search went, every trial."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import optuna
from markupsafe import Markup
from optuna.trial import FrozenTrial

from searcher import tasks
from searcher.config.given import called
from searcher.config.study import Study
from searcher.deploy.pick import pick
from searcher.execution.curve import CURVE, read
from searcher.execution.layout import INT8, trial_folder
from searcher.searching.data import SHEET
from searcher.searching.indicators import Hypervolume, Importances, hypervolume, importances
from searcher.searching.pareto import front, missed, violation
from searcher.searching.records import TrialRecord, ended
from searcher.searching.storage.studies import load
from searcher.ui.html import page, plots
from searcher.ui.html.comparison import comparable, compared
from searcher.ui.html.page import Cell, Section
from searcher.ui.html.summary import summary
from searcher.ui.terminal.trials import complete_trials, state, words
from searcher.version import __version__
from searcher.wording import fidelity, kernels, number, several

CURVES = 8
"""Trainings that one figure can show."""

HINT = "Click a point, or a row of a table, to see the trial's recipe."


def write_report(runs: Path, stored_name: str, path: Path) -> None:
    """Write the page of a stored study.

    Raises:
        SearcherError: The path cannot be written.
    """
    stored, study = load(runs, stored_name)
    page.write(path, study_page(study, stored, runs / stored_name))


def study_page(study: Study, stored: optuna.Study, folder: Path) -> str:
    """The page, from a study, its trials and the folder that their folders are in."""
    view = _View(study, stored, folder)
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("optuna", "torch", "plotly"))
    return page.page(
        f"Study {study.stored_name}",
        [section for section in view.sections() if section.body],
        lead=f"Recipes of the space {study.space} for the task {called(study.task)}",
        foot=f"Made {made} by searcher {__version__} with {libraries}.",
    )


class _View:
    def __init__(self, study: Study, stored: optuna.Study, folder: Path) -> None:
        self.study, self.stored, self.folder = study, stored, folder
        self.trials = stored.get_trials(deepcopy=False)
        self.complete = complete_trials(stored)
        self.front = front(study, self.complete)
        self.on_front = {t.number for t in self.front.trials}

    def sections(self) -> list[Section]:
        shown = [self.searched(), self.data()]
        if self.complete:
            shown += [self.points(), self.comparison(), self.summary()]
            shown += [self.history(), self.importance(), self.curves()]
        return [*shown, self.failures(), self.every()]

    def searched(self) -> Section:
        study = self.study
        states = Counter(state(trial) for trial in self.trials)
        identity = self.stored.user_attrs["identity"]
        pairs = [
            ("task", f"{called(study.task)}, data fingerprint {identity['data fingerprint']}"),
            ("space", f"{study.space}, code {identity['space code']}"),
            ("objectives", ", ".join(f"{o.goal} {plots.title_of(o)}" for o in study.objectives)),
            ("constraints", ", ".join(map(str, study.constraints)) or "none"),
            ("budget", f"{study.budget.trials} trials of {study.budget.epochs} epochs, seed {study.seed}"),
            ("trials", ", ".join(f"{count} {name}" for name, count in states.items()) or "none yet"),
        ]
        none = [page.paragraph("No trial is complete yet: there are no results to show.", "warning")]
        return Section("What was searched", [page.facts(pairs), *(none if not self.complete else [])])

    def data(self) -> Section:
        """Of a user's own data, what was found, and a few images of it."""
        found = [page.paragraph(line) for line in self.stored.user_attrs.get("data", [])]
        drawn = self.folder / SHEET
        picture = [page.picture(drawn, "Training images after augmentation.")] if drawn.is_file() else []
        return Section("The data", [*found, *picture])

    def points(self) -> Section:
        figures = [
            page.figure(plots.front_figure(self.study, self.complete, pair))
            for pair in plots.pairs(self.study)
        ]
        if not figures:
            figures = [page.figure(plots.history_figure(self.study, self.complete, 0))]
        warned = [page.paragraph(_ignored(self.study), "warning")] if not self.front.feasible else []
        body = [page.chooser(figures, HINT, [self._card(t) for t in self.trials])]
        return Section(
            f"Front: {several(len(self.front.trials), 'trial')}",
            [*warned, *body, self._table(self.front.trials, short=True)],
            "Trials that no other beats in every objective. Quality is read on validation data; "
            "the test split is not touched by a search.",
        )

    def comparison(self) -> Section:
        """Two trials to begin with: the best, and the other end of the front."""
        found = comparable(self.trials)
        if len(found) < 2:
            return Section("Two recipes side by side", [])
        options = [(t.number, f"{self._standing(t)}; {words(t)}") for t in found]
        first = self._best().number
        others = [t.number for t in [*self.front.trials, *found] if t.number != first]
        return Section(
            "Two recipes side by side",
            [page.comparison(options, (first, others[0]), compared(self.study, found))],
            "Choose two trials that were measured. What differs is marked; better and worse are said of B.",
        )

    def summary(self) -> Section:
        return summary(self.study, self._best(), self._why_best(), self.folder)

    def history(self) -> Section:
        study, every = self.study, range(len(self.study.objectives))
        figures = [
            page.figure(plots.history_figure(study, self.complete, i), plots.heading(study, self.complete, i))
            for i in every
        ]
        found = hypervolume(study, self.complete)
        more, said = _hypervolume(study, found)
        return Section("How the search went", [page.columns([*figures, *more]), page.paragraph(said, "note")])

    def importance(self) -> Section:
        study = self.study
        found = {
            o.key: importances(study, self.stored, self.complete, i) for i, o in enumerate(study.objectives)
        }
        known = {key: value for key, value in found.items() if isinstance(value, Importances)}
        figures = [page.figure(plots.importance_figure(value), key) for key, value in known.items()]
        reasons = [f"{key}: {value}" for key, value in found.items() if isinstance(value, str)]
        return Section(
            "Which parameters mattered",
            [page.columns(figures), *(page.paragraph(f"Not known for {line}.") for line in reasons)],
            "The share of each parameter in reaching the best values of an objective, by PED-ANOVA over "
            f"{several(len(self.complete), 'complete trial')}. Few trials say little; pale bars are of "
            "parameters that too few of them had."
            if known
            else "",
        )

    def curves(self) -> Section:
        found = {}
        for trial in self.front.trials[:CURVES]:
            points = read(trial_folder(self.folder, trial.number) / CURVE)
            if points:
                found[f"trial {trial.number}"] = points
        quality = _quality(self.study)
        return Section(
            "Trainings of the front",
            [page.figure(plots.curve_figure(found, quality))] if found else [],
            f"{quality} on validation data after each epoch, before int8. A larger mark ends a stage. "
            "What was taken from the store is drawn as it was trained; a teacher's own epochs are left out.",
        )

    def failures(self) -> Section:
        failed = ended(self.trials).failed
        reasons = Counter(TrialRecord.of(t).reason or "no reason was stored" for t in failed).most_common()
        rows: list[list[Cell | str]] = [[page.amount(str(n), n), reason] for reason, n in reasons]
        return Section("Failures", [page.table(["trials", "reason"], rows)] if rows else [])

    def every(self) -> Section:
        if not self.trials:
            return Section("All trials", [])
        title = f"All {several(len(self.trials), 'trial')}"
        return Section("All trials", [page.folded(title, [self._table(self.trials)])])

    def _table(self, trials: Sequence[FrozenTrial], short: bool = False) -> Markup:
        metrics = [m.key for m in self.study.measured()]
        headers = ["trial", *([] if short else ["state"]), *metrics, "seconds", "recipe"]
        rows = [self._row(t, metrics, short) for t in trials]
        return page.table(headers, rows, trials=[t.number for t in trials], sortable=True)

    def _row(self, trial: FrozenTrial, metrics: Sequence[str], short: bool) -> list[Cell | str]:
        record = TrialRecord.of(trial)
        cells = [_amount(record.metrics.get(key)) for key in metrics]
        seconds = record.seconds
        cells.append(page.amount("") if seconds is None else page.amount(f"{seconds:,.0f}", seconds))
        first = [page.amount(str(trial.number), trial.number)]
        return [*first, *([] if short else [self._standing(trial)]), *cells, words(trial)]

    def _card(self, trial: FrozenTrial) -> page.Card:
        record = TrialRecord.of(trial)
        metrics = record.metrics
        figures = [(m.key, number(metrics[m.key])) for m in self.study.measured() if m.key in metrics]
        figures += [("seconds", f"{record.seconds:.0f}")] if record.seconds is not None else []
        if ran := record.measured.get(INT8):
            figures += [("int8 by", kernels(ran)), ("from exact arithmetic", fidelity(ran))]
        lines = words(trial).split("; ")
        both = len(comparable(self.trials)) > 1 and bool(comparable([trial]))
        return page.Card(trial.number, f"Trial {trial.number}", self._standing(trial), lines, figures, both)

    def _standing(self, trial: FrozenTrial) -> str:
        if not TrialRecord.of(trial).metrics:
            return state(trial)
        broken = missed(self.study, trial)
        standing = "on the front" if trial.number in self.on_front else "complete"
        return f"{standing}, misses {broken}" if broken else standing

    def _best(self) -> FrozenTrial:
        if self.front.feasible:
            return pick(self.study, self.complete, "best")
        return min(self.complete, key=lambda t: (violation(self.study, t), t.number))

    def _why_best(self) -> str:
        if not self.front.feasible:
            return "the nearest to the constraints, which no trial satisfies"
        first = next((o for o in self.study.objectives if o.goal == "minimize"), self.study.objectives[0])
        extreme = "lowest" if first.goal == "minimize" else "highest"
        bounds = (
            f" that satisfies {', '.join(map(str, self.study.constraints))}" if self.study.constraints else ""
        )
        return f"the {extreme} {first.key}{bounds}"


def _quality(study: Study) -> str:
    """The figure that a training of the study reports, for a reader."""
    known = tasks.TASKS.get(study.task)
    asked = {metric.metric for metric in study.measured()}
    kinds = [known.kind] if known else [kind for kind in tasks.kinds() if asked.intersection(kind.metrics)]
    return kinds[0].figure if kinds else "quality"


def _ignored(study: Study) -> str:
    bounds = ", ".join(map(str, study.constraints))
    return f"No trial satisfies {bounds}: the front is shown without constraints."


def _hypervolume(study: Study, found: Hypervolume | str) -> tuple[list[Markup], str]:
    if isinstance(found, str):
        return [], f"No hypervolume: {found}."
    up = "share of the box dominated"
    charts = [page.figure(plots.line_figure(found.trials, found.shares, "trial", up), "hypervolume by trial")]
    if found.seconds:
        across = "seconds of trials, summed"
        charts.append(
            page.figure(plots.line_figure(found.seconds, found.shares, across, up), "hypervolume by time")
        )
    worst = zip(study.objectives, found.reference, strict=True)
    reference = ", ".join(f"{o.key} {number(value)}" for o, value in worst)
    said = (
        "Hypervolume: what the feasible trials dominate of the box between the best value of every objective "
        f"and the reference point, a tenth of the range beyond the worst of the complete trials: {reference}."
    )
    return (
        charts,
        said if found.seconds else f"{said} By time: not known, some trials do not say their seconds.",
    )


def _amount(value: float | None) -> Cell:
    return page.amount("") if value is None else page.amount(number(value), value)
