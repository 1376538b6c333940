"""The folder that a retraining leaves: weights, ONNX, figures, report, recipe and model card."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from searcher import card, page
from searcher.curve import CURVE, Point
from searcher.curve import read as read_curve
from searcher.delivery_folder import CHECKPOINTS, METRICS, made, refuse_foreign
from searcher.engines import onnx, weights
from searcher.engines.onnx import Agreement
from searcher.errors import SearcherError, TrialError
from searcher.files import in_one_step
from searcher.pipeline import Network
from searcher.recipe_file import RecipeFile
from searcher.retrain import Result, compare, retrain, states
from searcher.scenes import pictures
from searcher.tasks.task import Task
from searcher.training_view import TrainingView


@dataclass(frozen=True)
class Delivery:
    """What ``metrics.json`` holds.

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


def retrain_into(
    file: RecipeFile,
    folder: Path,
    seeds: int,
    epochs: int | None,
    console: Console,
    *,
    force: bool = False,
) -> Delivery:
    """Train a recipe again, and write what deploys into a folder.

    A folder that holds this retraining already is left as it is; with `force` any other is written into.

    Raises:
        SearcherError: The recipe cannot be retrained, the folder cannot be written or has other files, or an
            ONNX file is not quantized as the recipe says.
    """
    found = _finished(folder, file, seeds, epochs)
    if found:
        console.print(f"{folder} holds this retraining already", highlight=False)
        return found
    if not force:
        refuse_foreign(folder)
    with made(folder):
        file.save(folder / "recipe.toml")
        with TrainingView(console) as view:
            result, network, task = retrain(file, folder / CHECKPOINTS, seeds, epochs, view.report)
    console.print("writing the model's files, and checking the ONNX ones on the test split …")
    try:
        delivery = Delivery(result, _write_models(folder, network, task), _sizes(folder))
    except TrialError as error:
        raise SearcherError(f"the model cannot be exported: {error}") from error
    _describe(file, delivery, folder, task)
    with in_one_step(folder / METRICS) as part:
        part.write_bytes(_DELIVERY.dump_json(delivery, indent=1))
    shutil.rmtree(folder / CHECKPOINTS)
    return delivery


def _finished(folder: Path, file: RecipeFile, seeds: int, epochs: int | None) -> Delivery | None:
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


def _write_models(folder: Path, network: Network, task: Task) -> dict[str, Agreement]:
    """The files, and each ONNX file held against the network that it was made of."""
    weights.save(network.executed, folder / "model.safetensors")
    example, notes = task.example(), onnx.preprocessing(task)
    architecture, prepared = network.architecture, network.prepared
    made = {"model.onnx": architecture}
    onnx.export_float(architecture, example, folder / "model.onnx", notes)
    if prepared is not None:
        made["model.int8.onnx"] = network.executed
        onnx.export_int8(prepared, example, folder / "model.int8.onnx", notes)
        onnx.verify(folder / "model.int8.onnx", prepared.exclude, architecture)
    return {
        name: onnx.agreement(model, onnx.Runtime(folder / name), task, task.test)
        for name, model in made.items()
    }


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.glob("model*"))}


def _describe(file: RecipeFile, delivery: Delivery, folder: Path, task: Task) -> None:
    used = card.use(task, onnx.outputs(folder / "model.onnx"))
    told = (file, delivery.result, delivery.onnx, folder, used)
    (folder / "README.md").write_text(card.model_card(*told), encoding="utf-8")
    curves = _curves(delivery.result, folder / CHECKPOINTS)
    shown = pictures(task, delivery.result.seeds[0].detected)
    page.write(folder / "report.html", card.model_page(*told, curves, shown))


def _curves(result: Result, checkpoints: Path) -> dict[str, list[Point]]:
    seeds = [seed.seed for seed in result.seeds]
    return {
        f"seed {seed}": read_curve(states(checkpoints, result.recipe, result.epochs, seed) / CURVE)
        for seed in seeds
    }
