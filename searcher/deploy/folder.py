"""The folder that what ships is written into: whether it may, and that a refused one leaves none."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from searcher.config.recipe_file import is_recipe
from searcher.errors import SearcherError
from searcher.execution.curve import CURVE

METRICS = "metrics.json"
RECIPE = "recipe.toml"
CHECKPOINTS = "checkpoints"
WRITTEN = (
    METRICS,
    RECIPE,
    CHECKPOINTS,
    "README.md",
    "report.html",
    "model.safetensors",
    "model.onnx",
    "model.int8.onnx",
)
"""The names that a retraining writes."""


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder with files that no retraining has written; one with a recipe file alone is taken.

    Raises:
        SearcherError: Names what is there.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if not names or _is_delivery(folder) or (names == {RECIPE} and _has_recipe(folder)):
        return
    would_go = sorted(names & set(WRITTEN))
    there = ", ".join(would_go or sorted(names)[:3])
    raise SearcherError(
        f"{folder} is no folder of a retraining and has files of its own ({there}): "
        "take another with -o, or --force"
    )


def _is_delivery(folder: Path) -> bool:
    """Whether a retraining has been written there, or has been begun."""
    try:
        figures = json.loads((folder / METRICS).read_bytes())
    except FileNotFoundError:
        return (folder / CHECKPOINTS).is_dir() and _has_recipe(folder)
    except (OSError, ValueError):
        return False
    return isinstance(figures, dict) and {"onnx", "bytes"} <= figures.keys()


def _has_recipe(folder: Path) -> bool:
    try:
        return is_recipe((folder / RECIPE).read_bytes())
    except OSError:
        return False


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Make the folder; where what is within is refused before anything was trained, it is gone again.

    Raises:
        SearcherError: It cannot be made.
    """
    new = not folder.exists()
    try:
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SearcherError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield
    except SearcherError:
        if new and not _trained(folder / CHECKPOINTS):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _trained(checkpoints: Path) -> bool:
    return any(path.is_file() and path.name != CURVE for path in checkpoints.rglob("*"))
