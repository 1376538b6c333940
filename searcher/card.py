"""What a reader is told of a retrained model: a card in Markdown, and a page."""

from collections.abc import Mapping
from pathlib import Path

from searcher import page
from searcher.curve import Point
from searcher.engines.onnx import Agreement
from searcher.plots import curve_figure
from searcher.recipe_file import RecipeFile
from searcher.retrain import Result
from searcher.retrain_table import markdown, sections

USE = """Inputs are images (N, C, H, W) in float32, (image / scale - mean) / std with the figures that the \
ONNX files hold as metadata; outputs are logits (N, classes). `model.safetensors` holds the weights that \
are executed: int8 codes with their scales where a layer is quantized."""


def title(file: RecipeFile) -> str:
    """What the model is."""
    return f"{file.recipe.model.name} for {file.provenance.task}"


def lead(file: RecipeFile, result: Result) -> str:
    """How it came to be."""
    seeds = ", ".join(str(s.seed) for s in result.seeds)
    source = f"trial {file.provenance.trial} of {file.provenance.study}"
    return f"{file.recipe.words()}. Found by {source}; budget {result.epochs} epochs, seed {seeds}."


def model_card(file: RecipeFile, result: Result, files: Mapping[str, Agreement], folder: Path) -> str:
    """The card of the models in a folder."""
    sizes: list[tuple[str, ...]] = [
        (f"`{p.name}`", f"{p.stat().st_size / 1e6:.4f} MB") for p in sorted(folder.glob("model.*"))
    ]
    parts = [f"# {title(file)}", lead(file, result)]
    for heading, rows in sections(result, files):
        parts += [f"## {heading}", markdown(rows)]
    source = file.provenance
    parts += [
        "## Files",
        markdown((("file", "size"), sizes)),
        USE,
        "## Data",
        f"Task `{source.task}`, fingerprint `{source.data_fingerprint}` of all images, labels and splits. "
        "The search saw the training and the validation split; the test split was read once, at the end.",
        "## Made with",
        ", ".join(f"{name} {version}" for name, version in source.versions.items()),
    ]
    return "\n\n".join(parts) + "\n"


def model_page(
    file: RecipeFile, result: Result, files: Mapping[str, Agreement], curves: Mapping[str, list[Point]]
) -> str:
    """The page, self-contained."""
    parts = [page.Section(heading, [page.table(*rows)]) for heading, rows in sections(result, files)]
    if curves:
        parts.append(page.Section("Training", [page.figure(curve_figure(dict(curves)))]))
    versions = ", ".join(f"{name} {version}" for name, version in file.provenance.versions.items())
    return page.page(title(file), parts, lead=lead(file, result), foot=f"searched with {versions}")
