"""A recipe file: what to retrain, where it comes from, and what it is expected to give."""

import tomllib
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from searcher.config.data import Data
from searcher.config.deployment import Deployment
from searcher.config.metric import Metric, named
from searcher.config.recipe import Recipe, holds_recipes
from searcher.config.study import LAST_SEED
from searcher.config.toml import read_toml, validated
from searcher.errors import SearcherError
from searcher.files import in_one_step
from searcher.version import __version__

FORMAT: Literal[1] = 1
"""The version of the format that is written; older ones are read, newer ones refused."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Provenance(_Frozen):
    """A recipe's origin, and all that it takes to make it again.

    Attributes:
        study: The stored study's name.
        trial: The trial's number in it.
        task: The task on which it was searched.
        data: How its data was prepared, where that was said.
        data_fingerprint: A digest of the task's images, labels and splits.
        seed: Of the initial weights, the order of the images and their augmentation.
        epochs: The budget at share 1.
        deployment: How the model was run where latency and memory were measured.
        versions: Of the libraries that exported it, by name.
    """

    study: str
    trial: int = Field(ge=0)
    task: str
    data: Data | None = None
    data_fingerprint: str
    seed: int = Field(ge=0, le=LAST_SEED)
    epochs: int = Field(ge=1)
    deployment: Deployment = Deployment()
    versions: dict[str, str] = Field(default_factory=dict)


class Expected(_Frozen):
    """A metric of the search, on the validation split.

    Attributes:
        value: What was measured.
        tolerance: How far off a retrained model may be, in the metric's unit.
        goal: On which side it may be further off; neither where this is None.
    """

    value: float = Field(allow_inf_nan=False)
    tolerance: float = Field(ge=0, allow_inf_nan=False)
    goal: Literal["maximize", "minimize"] | None = None

    def met(self, value: float) -> bool:
        """Whether a retrained model's figure is within the tolerance, or better than expected."""
        off = value - self.value
        if abs(off) <= self.tolerance + 1e-12:
            return True
        return (self.goal == "maximize" and off > 0) or (self.goal == "minimize" and off < 0)


class RecipeFile(_Frozen):
    """The content of a recipe file. `expected` has the keys of metrics: ``micronet_score:imt-2022``."""

    format: Literal[1]
    recipe: Recipe
    provenance: Provenance
    expected: dict[str, Expected]

    def metrics(self) -> list[Metric]:
        """The metrics that are expected."""
        return [named(key) for key in self.expected]

    def save(self, path: Path) -> None:
        """Write the file in one step.

        Raises:
            SearcherError: It cannot be written.
        """
        content = self.model_dump(mode="json", exclude_none=True)
        try:
            with in_one_step(path) as part:
                part.write_text(_HEAD + tomli_w.dumps(content), encoding="utf-8")
        except OSError as error:
            raise SearcherError(f"{path} cannot be written: {error.strerror or error}") from error


holds_recipes(RecipeFile)


_HEAD = f"""# A recipe found by searcher {__version__}. Retrain it with: searcher retrain FILE
# It may be edited; the figures under [expected] are then no longer promised.

"""


def load(path: Path) -> RecipeFile:
    """Read a recipe file.

    Raises:
        SearcherError: It cannot be read, is of a newer format, or has missing, unknown or wrong keys: all
            of them at once.
    """
    content = read_toml(path)
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise SearcherError(
            f"{path}: format {version} is newer than this searcher reads ({FORMAT}); install a newer one"
        )
    return validated(RecipeFile, content, str(path), "the recipe file")


def is_recipe(content: bytes) -> bool:
    """Whether this is the content of a recipe file, of this version or another."""
    try:
        keys = tomllib.loads(content.decode("utf-8-sig")).keys()
    except (ValueError, RecursionError):
        return False
    return {"format", "recipe", "provenance"} <= keys
