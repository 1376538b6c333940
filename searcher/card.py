"""What a reader is told of a retrained model: a card in Markdown, and a page."""

from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

from markupsafe import Markup

from searcher import page
from searcher.curve import Point
from searcher.engines.onnx import Agreement
from searcher.plots import curve_figure
from searcher.recipe_file import RecipeFile
from searcher.retrain import Result
from searcher.retrain_table import Rows, markdown, sections
from searcher.wording import several

USE = """Inputs are images (N, C, H, W) in float32, (image / scale - mean) / std with the figures that the \
ONNX files hold as metadata; outputs are logits (N, classes). `model.safetensors` holds the weights that \
are executed: int8 codes with their scales where a layer is quantized."""


def title(file: RecipeFile) -> str:
    """What the model is."""
    return f"{file.recipe.model.name} for {file.provenance.task}"


def lead(file: RecipeFile, result: Result) -> str:
    """Where it comes from."""
    source = f"{file.provenance.study}, trial {file.provenance.trial}"
    seeds = ", ".join(str(s.seed) for s in result.seeds)
    return (
        f"{file.recipe.words()}. From {source}; trained again with a budget of "
        f"{several(result.epochs, 'epoch')}, {'seed' if len(result.seeds) == 1 else 'seeds'} {seeds}."
    )


def model_card(file: RecipeFile, result: Result, files: Mapping[str, Agreement], folder: Path) -> str:
    """The card of the models in a folder."""
    parts = [f"# {title(file)}", lead(file, result)]
    for heading, rows in [*sections(result, files), ("Files", _sizes(folder))]:
        parts += [f"## {heading}", markdown(rows)]
    source = file.provenance
    parts += [
        USE,
        "## Data",
        f"Task `{source.task}`, fingerprint `{source.data_fingerprint}` of all images, labels and splits. "
        "The search saw the training and the validation split; the test split was read once, at the end.",
    ]
    if source.versions:
        parts += ["## Searched with", _versions(file)]
    return "\n\n".join(parts) + "\n"


def model_page(
    file: RecipeFile,
    result: Result,
    files: Mapping[str, Agreement],
    folder: Path,
    curves: Mapping[str, list[Point]],
    pictures: Sequence[Markup] = (),
) -> str:
    """The page, self-contained."""
    every = [*sections(result, files), ("Files", _sizes(folder))]
    parts = [page.Section(heading, [_table(rows)]) for heading, rows in every]
    if not result.met:
        missed = ", ".join(line.key for line in result.lines if not line.met)
        warning = page.paragraph(f"{missed}: further from what was expected than the tolerance.", "warning")
        parts[0] = page.Section(parts[0].title, [warning, *parts[0].body])
    if pictures:
        note = "The first images of the test split; what is annotated is dashed."
        parts.append(page.Section("Detections before and after", pictures, note))
    drawn = {name: points for name, points in curves.items() if any(not isnan(p.accuracy) for p in points)}
    if drawn:
        parts.append(
            page.Section(
                "Training",
                [page.figure(curve_figure(drawn, next((a.metric for a in files.values()), "quality")))],
            )
        )
    foot = f"Searched with {_versions(file)}" if file.provenance.versions else ""
    return page.page(title(file), parts, lead=lead(file, result), foot=foot)


def _table(rows: Rows) -> Markup:
    """Names on the left, figures on the right."""
    headers, lines = rows
    return page.table(headers, [[line[0], *map(page.amount, line[1:])] for line in lines])


def _sizes(folder: Path) -> Rows:
    sizes = [(p.name, f"{p.stat().st_size / 1e6:.4f} MB") for p in sorted(folder.glob("model.*"))]
    return ("file", "size"), [*sizes]


def _versions(file: RecipeFile) -> str:
    return ", ".join(f"{name} {version}" for name, version in file.provenance.versions.items())
