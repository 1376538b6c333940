"""Resolves the TARGET of `cost` and `measure`: a recipe, a trial, a study's reference, or a function."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from searcher import tasks
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.stages import untrained
from searcher.compression.training import Run
from searcher.config import catalog
from searcher.config.recipe import Model, Recipe
from searcher.config.study import StudyFile
from searcher.config.toml import read_toml, validated
from searcher.costs.arithmetic import Sizes
from searcher.costs.counting.recorder import record
from searcher.costs.op import Op, Prediction, load_ops
from searcher.errors import SearcherError, TrialError, first_line
from searcher.execution.layout import COST, trial_folder
from searcher.models import MODELS, build
from searcher.searching.records import TrialRecord
from searcher.searching.storage import studies
from searcher.tasks.base import Split
from searcher.tasks.classification.task import Classification

NOISE_IMAGES = 32
"""Of noise, on which a network is calibrated whose latency, memory and size are asked for."""


@dataclass(frozen=True)
class Target:
    """A network to be counted or measured.

    Attributes:
        title: What it is, in words.
        recipe: How it is made; without stages it is the model alone.
        image: Sizes of one image: channels, height and width.
        classes: Number of outputs.
        counted: The rows that a trial has left of what it executed.
    """

    title: str
    recipe: Recipe
    image: Sizes
    classes: int
    counted: Path | None = None

    def ops(self) -> tuple[list[Op], str]:
        """The rows, and where they come from with which input.

        Raises:
            SearcherError: The network cannot be built, or does not run on an input of these sizes.
        """
        sizes = "×".join(map(str, self.image))
        if self.counted:
            return load_ops(self.counted), f"counted on what the trial executed, for an input of {sizes}"
        if self.recipe.stages or ":" not in self.recipe.model.name:
            prediction = self._predicted()
            note = f" ({prediction.reason})" if prediction.reason else ""
            return prediction.ops or [], f"{prediction.verdict}{note}, for an input of {sizes}"
        return self._counted(), f"counted on what is executed, for an input of {sizes}"

    def network(self) -> Network:
        """The finished network without its training: latency, memory and size do not depend on it.

        Raises:
            SearcherError: The network cannot be built or made.
        """
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(256, (NOISE_IMAGES, *self.image), generator=generator, dtype=torch.uint8)
        split = Split(noise, torch.arange(NOISE_IMAGES) % self.classes)
        mean = (0.5,) * self.image[0]
        task = _Noise("noise", self.classes, split, split, split, mean, mean, 255, 0, False)
        run = Run(task, 0, 0, torch.device("cpu"), lambda *_: None)
        try:
            return run_recipe(untrained(self.recipe), run)
        except SearcherError:
            raise
        except Exception as error:
            raise self._refused(error) from error

    def example(self) -> Tensor:
        """An image of noise, (1, C, H, W)."""
        return torch.randn((1, *self.image), generator=torch.Generator().manual_seed(0))

    def _predicted(self) -> Prediction:
        try:
            prediction = predict(self.recipe, self.image, self.classes)
        except SearcherError:
            raise
        except Exception as error:
            raise self._refused(error) from error
        if prediction.ops is None:
            raise SearcherError(f"{self.title}: {prediction.verdict}: {prediction.reason}")
        return prediction

    def _counted(self) -> list[Op]:
        model = self.recipe.model
        network = build(model.name, model.args, in_channels=self.image[0], classes=self.classes)
        try:
            return record(network, self.example())
        except Exception as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> SearcherError:
        reason = first_line(error)
        if isinstance(error, TrialError):
            return SearcherError(f"{self.title}: {reason}")
        sizes = ",".join(map(str, (1, *self.image)))
        return SearcherError(f"{self.title} does not run on an input of {sizes}: {reason}")


def resolve(text: str, runs: Path, sizes: str | None, classes: int) -> Target:
    """The network that a text means.

    Args:
        text: A recipe's file, ``STUDY#TRIAL``, a study (for its reference), a model family's name, or
            ``pkg.mod:function``.
        runs: The runs folder, for trials.
        sizes: Those of the input, e.g. ``1,3,32,32``; by default those of the study's task, else these.
        classes: Number of outputs, where no task says it.

    Raises:
        SearcherError: Nothing is meant by the text, or the sizes are no image's.
    """
    image = parse_sizes(sizes) if sizes else None
    if "#" in text:
        return _trial(text, runs, image)
    if text.endswith(".toml") and "recipe" in (content := read_toml(Path(text))):
        recipe = validated(Recipe, content["recipe"], text, "recipe")
        return Target(text, recipe, image or (3, 32, 32), classes)
    if ":" in text:
        recipe = Recipe(model=Model(name=text), stages=())
        return Target(text, recipe, image or (3, 32, 32), classes)
    if text in MODELS and text not in catalog.files("studies"):
        return Target(text, Recipe(model=Model(name=text), stages=()), image or (3, 32, 32), classes)
    return _reference(text, image)


class _Noise(Classification):
    """Images without a task: a network may return of them what it likes."""

    @classmethod
    def misfit(cls, outputs: Any, count: int, classes: int) -> str:
        return ""


def parse_sizes(text: str) -> Sizes:
    """The sizes of one example from ``1,3,32,32``: channels, height and width of an image.

    Raises:
        SearcherError: Not positive whole numbers, or a batch of more than one.
    """
    try:
        batch, *image = (int(part) for part in text.split(","))
    except ValueError:
        batch, image = 0, []
    if batch != 1 or not image or min(image) < 1:
        raise SearcherError(f"--input {text}: expected a batch of one, as 1,C,H,W for an image: 1,3,32,32")
    return tuple(image)


def _trial(text: str, runs: Path, image: Sizes | None) -> Target:
    name, _, number = text.rpartition("#")
    stored_name, _ = studies.resolve(runs, name)
    stored, study = studies.load(runs, stored_name)
    trials = {str(trial.number): trial for trial in stored.get_trials(deepcopy=False)}
    if number not in trials:
        known = f"0 to {len(trials) - 1}" if trials else "none"
        raise SearcherError(f"no trial {number!r} in {stored_name}; known: {known}")
    record = TrialRecord.of(trials[number])
    if not record.has_recipe:
        raise SearcherError(f"trial {number} of {stored_name} has no recipe yet")
    recipe = record.recipe
    task = tasks.of(study)
    counted = trial_folder(runs / stored_name, int(number)) / COST
    found = counted if counted.is_file() and image is None else None
    title = f"{stored_name}#{number}: {recipe.words()}"
    return Target(title, recipe, image or task.image, task.classes, found)


def _reference(name: str, image: Sizes | None) -> Target:
    file = StudyFile(name)
    study = file.study(file.tasks[0])
    if study.reference is None:
        raise SearcherError(f"study {study.name} names no reference: add [reference] with a model's name")
    task = tasks.of(study)
    title = f"{study.name}, its reference: {study.reference.words()}"
    return Target(title, Recipe(model=study.reference, stages=()), image or task.image, task.classes)
