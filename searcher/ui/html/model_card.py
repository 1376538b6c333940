"""The description of a retrained model: a card in Markdown, and a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path

from markupsafe import Markup

from searcher.config.given import called
from searcher.config.recipe_file import RecipeFile
from searcher.deploy import onnx
from searcher.deploy.agreement import Agreement
from searcher.deploy.package import Described
from searcher.deploy.retrain import Line, Result
from searcher.execution.curve import Point
from searcher.tasks.base import Gallery, Task
from searcher.ui.comparison import BETTER, WORSE, Goal
from searcher.ui.html import page
from searcher.ui.html.plots import curve_figure
from searcher.ui.terminal.retrained import Rows, expected, markdown, retrained, sections
from searcher.wording import off, several


@dataclass(frozen=True)
class Verdict:
    """One thing that a reader must know first, and whether it is as it should be."""

    good: bool
    text: str


def verdicts(file: RecipeFile, result: Result, files: Mapping[str, Agreement]) -> list[Verdict]:
    """Whether what was expected was met, and whether each ONNX file agrees with its network."""
    missed = [line for line in result.lines if not line.met]
    found = [Verdict(False, _missed(line, len(result.seeds))) for line in missed]
    kept = len(result.lines) - len(missed)
    if kept:
        found.append(Verdict(True, f"Met: {', '.join(line.key for line in result.lines if line.met)}."))
    if result.epochs < file.provenance.epochs:
        budget = several(result.epochs, "epoch")
        found.append(
            Verdict(False, f"SHORT: a budget of {budget}, where the search had {file.provenance.epochs}.")
        )
    return [*found, *(_agreement(name, one) for name, one in files.items())]


def _missed(line: Line, seeds: int) -> str:
    figures = f"{retrained(line, seeds)} for {expected(line)}"
    return f"MISSED: {line.key}, {figures}, is off by {off(line.key, line.mean, line.expected)}."


def _agreement(name: str, one: Agreement) -> Verdict:
    good, says = one.holds, "agrees" if one.holds else "DISAGREES"
    figures = f"{one.metric} {one.quality_onnx:.4f} for the network's {one.quality:.4f}"
    return Verdict(good, f"{name} {says}: {one.equal_share:.2%} of its predictions are equal, {figures}.")


def use(task: Task, outputs: Mapping[str, tuple[int, ...]]) -> str:
    """The inputs and outputs of the files, in words.

    Args:
        task: The task that the model is for.
        outputs: By name the sizes of what is given of an image.
    """
    meaning = task.outputs(list(outputs.values()))
    given = ", ".join(f"`{name}` ({', '.join(map(str, ('N', *sizes)))})" for name, sizes in outputs.items())
    return (
        f"Inputs are `images` ({', '.join(map(str, ('N', *task.image)))}) in float32, "
        "(image / scale - mean) / std with the figures that the ONNX files hold as metadata. "
        f"Outputs are {given}{f', {meaning}' if meaning else ''}. `model.safetensors` holds the weights "
        "that are executed: int8 codes with their scales where a layer is quantized."
    )


def describe(of: Described) -> None:
    """Write a delivery's card and its page."""
    used = use(of.task, onnx.outputs(of.folder / "model.onnx"))
    told = (of.file, of.delivery.result, of.delivery.onnx, of.folder, used)
    (of.folder / "README.md").write_text(model_card(*told), encoding="utf-8")
    gallery = of.task.gallery(of.delivery.result.seeds[0].detected)
    page.write(of.folder / "report.html", model_page(*told, of.curves, gallery))


def title(file: RecipeFile) -> str:
    """The title: the model and its task."""
    return f"{file.recipe.model.called} for {called(file.provenance.task)}"


def lead(file: RecipeFile, result: Result) -> str:
    """The model's provenance, in words."""
    source = f"{file.provenance.study}, trial {file.provenance.trial}"
    seeds = ", ".join(str(s.seed) for s in result.seeds)
    return (
        f"{file.recipe.words()}. From {source}; trained again with a budget of "
        f"{several(result.epochs, 'epoch')}, {'seed' if len(result.seeds) == 1 else 'seeds'} {seeds}."
    )


def model_card(
    file: RecipeFile, result: Result, files: Mapping[str, Agreement], folder: Path, used: str
) -> str:
    """The card of the models in a folder; `used` is how they are fed."""
    found = [f"- {one.text}" for one in verdicts(file, result, files)]
    parts = [f"# {title(file)}", lead(file, result), "## Verdict", "\n".join(found)]
    for heading, rows in [*sections(result, files, _goals(file)), ("Files", _sizes(folder))]:
        parts += [f"## {heading}", markdown(rows)]
    source = file.provenance
    parts += [
        used,
        "## Data",
        f"Task `{called(source.task)}`, fingerprint `{source.data_fingerprint}` of all images, labels and "
        "splits. "
        "The search saw the training and the validation split; the test split was read once, at the end.",
    ]
    if source.versions:
        parts += ["## Exported with", _versions(file)]
    return "\n\n".join(parts) + "\n"


def model_page(
    file: RecipeFile,
    result: Result,
    files: Mapping[str, Agreement],
    folder: Path,
    used: str,
    curves: Mapping[str, list[Point]],
    gallery: Gallery | None = None,
) -> str:
    """The page, self-contained; `used` is how the files are fed."""
    told = [page.Told(one.text, one.good) for one in verdicts(file, result, files)]
    parts = [page.Section("Verdict", [page.told(told)])]
    parts += [
        page.Section(heading, [_table(rows)], half=True)
        for heading, rows in sections(result, files, _goals(file))
    ]
    about = [_table(_sizes(folder)), page.paragraph(used.replace("`", ""), "note")]
    parts.append(page.Section("Files", about, half=True))
    if gallery:
        rows = [page.gallery(name, [*map(Markup, drawn)]) for name, drawn in gallery.rows.items()]
        parts.append(page.Section(gallery.heading, rows, gallery.note))
    drawn = {name: points for name, points in curves.items() if any(not isnan(p.accuracy) for p in points)}
    if drawn:
        parts.append(
            page.Section(
                "Training",
                [page.figure(curve_figure(drawn, next((a.metric for a in files.values()), "quality")))],
            )
        )
    foot = f"Exported with {_versions(file)}" if file.provenance.versions else ""
    return page.page(title(file), parts, lead=lead(file, result), foot=foot)


def _goals(file: RecipeFile) -> dict[str, Goal | None]:
    return {key: expected.goal for key, expected in file.expected.items()}


def _table(rows: Rows) -> Markup:
    """Names on the left, figures on the right, what is better and what is worse marked."""
    headers, lines = rows
    return page.table(headers, [[line[0], *map(_cell, line[1:])] for line in lines])


def _cell(text: str) -> page.Cell:
    good, bad = text.endswith(("met", BETTER)), text.endswith(("MISSED", WORSE))
    return page.amount(text, mark="good" if good else "bad" if bad else "")


def _sizes(folder: Path) -> Rows:
    sizes = [(p.name, f"{p.stat().st_size / 1e6:.4f} MB") for p in sorted(folder.glob("model.*"))]
    return ("file", "size"), [*sizes]


def _versions(file: RecipeFile) -> str:
    return ", ".join(f"{name} {version}" for name, version in file.provenance.versions.items())
