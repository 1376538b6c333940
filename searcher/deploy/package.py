"""The folder that a retraining leaves: weights, ONNX, figures, report, recipe and model card."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from pydantic import TypeAdapter, ValidationError

from searcher.compression.engines import weights
from searcher.compression.network import Network, floating
from searcher.config.recipe_file import RecipeFile
from searcher.deploy import onnx
from searcher.deploy.agreement import Agreement, agreement
from searcher.deploy.folder import CHECKPOINTS, METRICS, RECIPE, made
from searcher.deploy.retrain import Result, compare, device_at_hand, retrain, states
from searcher.errors import SearcherError, TrialError
from searcher.execution.curve import CURVE, Point
from searcher.execution.curve import read as read_curve
from searcher.execution.steps import Step, unsaid
from searcher.files import in_one_step
from searcher.tasks.base import Task


@dataclass(frozen=True)
class Delivery:
    """The content of ``metrics.json``.

    Attributes:
        result: What came out of the training, beside what was expected.
        onnx: Of each ONNX file, how it agrees with the network that it was made of, on the test split.
        bytes: The sizes of the model's files.
    """

    result: Result
    onnx: dict[str, Agreement]
    bytes: dict[str, int]

    @property
    def disagreeing(self) -> list[str]:
        """The ONNX files that do not compute what their networks do."""
        return [name for name, found in self.onnx.items() if not found.holds]


_DELIVERY = TypeAdapter(Delivery)


@dataclass(frozen=True)
class Described:
    """All that a description of a delivery is made of.

    Attributes:
        file: The recipe file.
        delivery: What came out.
        folder: Where it is.
        task: What it is for.
        curves: The points of each seed's training.
    """

    file: RecipeFile
    delivery: Delivery
    folder: Path
    task: Task
    curves: dict[str, list[Point]]


class View(Protocol):
    """Shows a retraining while it runs."""

    def report(self, seed: int, stage: str, epoch: int, epochs: int, accuracy: float) -> None:
        """An epoch is done, or a stage without epochs begins; see `searcher.deploy.retrain.Report`."""

    def step(self, name: str, done: int = 0, count: int = 0) -> None:
        """A step begins, or has done so many of its images; see `searcher.execution.steps.Step`."""


def finished(file: RecipeFile, folder: Path, seeds: int, epochs: int | None) -> Delivery | None:
    """The retraining that a folder holds, where it is this one."""
    try:
        stored = _DELIVERY.validate_json((folder / METRICS).read_bytes())
    except (OSError, ValidationError):
        return None
    result = stored.result
    asked = (file.recipe.digest(), epochs or file.provenance.epochs, seeds)
    measured = result.seeds[0].validation.keys()
    if (result.recipe, result.epochs, len(result.seeds)) != asked or measured != file.expected.keys():
        return None
    # What is expected may have been edited since.
    return replace(stored, result=replace(result, lines=compare(file, result.seeds)))


def retrain_into(
    file: RecipeFile,
    folder: Path,
    seeds: int,
    epochs: int | None,
    view: View,
    describe: Callable[[Described], None],
) -> Delivery:
    """Train a recipe again, and write what deploys into a folder.

    Args:
        file: The recipe file.
        folder: The folder to write into; `METRICS` is written last.
        seeds: Trainings; the first seed is the file's.
        epochs: Instead of the file's budget.
        view: Told of epochs and steps as they come.
        describe: Writes the files that are for readers.

    Raises:
        SearcherError: The recipe cannot be retrained, the folder cannot be written, or an ONNX file is not
            quantized as the recipe says.
    """
    with made(folder):
        file.save(folder / RECIPE)
        result, network, task = retrain(file, folder / CHECKPOINTS, seeds, epochs, view.report, view.step)
    delivery = Delivery(result, _written(folder, network, task, view.step), _sizes(folder))
    view.step("write the report")
    describe(Described(file, delivery, folder, task, _curves(result, folder / CHECKPOINTS)))
    with in_one_step(folder / METRICS) as part:
        part.write_bytes(_DELIVERY.dump_json(delivery, indent=1))
    shutil.rmtree(folder / CHECKPOINTS)
    return delivery


def ship(file: RecipeFile, folder: Path, network: Network, task: Task) -> dict[str, Agreement]:
    """Write a network that a search has trained: its models, its recipe, and its figures as `METRICS`.

    Args:
        file: Its recipe, with the figures that were measured.
        folder: The folder to write into.
        network: The network.
        task: What it is for.

    Returns:
        By name, the agreement of each ONNX file.

    Raises:
        SearcherError: The folder cannot be written, or the network cannot be exported.
    """
    with made(folder):
        file.save(folder / RECIPE)
    agreements = _written(folder, network, task)
    figures = {key: expected.value for key, expected in file.expected.items()}
    agreed = {name: asdict(found) for name, found in agreements.items()}
    with in_one_step(folder / METRICS) as part:
        part.write_text(json.dumps({"figures": figures, "onnx": agreed, "bytes": _sizes(folder)}, indent=1))
    (folder / CHECKPOINTS).rmdir()
    return agreements


def _written(folder: Path, network: Network, task: Task, step: Step = unsaid) -> dict[str, Agreement]:
    """A network's files, each ONNX file held against the network that it was made of.

    Raises:
        SearcherError: The network cannot be exported.
    """
    try:
        return _write_models(folder, network, task, device_at_hand(), step)
    except TrialError as error:
        raise SearcherError(f"the model cannot be exported: {error}") from error


def _write_models(
    folder: Path, network: Network, task: Task, device: torch.device, step: Step
) -> dict[str, Agreement]:
    """The files, and each ONNX file held against the network that it was made of, on the test split."""
    weights.save(network.executed, folder / "model.safetensors")
    example, notes = task.example(), onnx.preprocessing(task)
    # What is executed in floating point may have other weights than the architecture: ternary ones.
    plain = network if network.prepared is None else floating(network.architecture)
    made = {"model.onnx": plain}
    step("write model.onnx")
    onnx.export(plain, example, folder / "model.onnx", notes)
    if network.prepared is not None:
        made["model.int8.onnx"] = network
        step("write model.int8.onnx")
        onnx.export(network, example, folder / "model.int8.onnx", notes)
    found = {}
    for name, source in made.items():
        runtime = onnx.Runtime(folder / name, torch.get_num_threads())
        found[name] = agreement(source, runtime, task, task.test, device, f"check {name}", step)
    return found


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("model*"))}


def _curves(result: Result, checkpoints: Path) -> dict[str, list[Point]]:
    seeds = [seed.seed for seed in result.seeds]
    return {
        f"seed {seed}": read_curve(states(checkpoints, result.recipe, result.epochs, seed) / CURVE)
        for seed in seeds
    }
