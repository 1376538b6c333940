"""Training a recipe again: it goes on after a kill, and is held to what was expected."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from searcher import tasks
from searcher.compression.checkpoint import Checkpoint, Checkpoints
from searcher.compression.pipeline import run_recipe
from searcher.compression.training import Run
from searcher.config.recipe import Distill, Model, PruneChannels, PruneWeights, Quantize, Recipe, Train
from searcher.config.recipe_file import FORMAT, Expected, Provenance, RecipeFile
from searcher.deploy.retrain import compare, retrain
from searcher.errors import SearcherError

MODEL = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1]})
RECIPE = Recipe(
    model=MODEL,
    stages=(
        Train(lr=0.05, mixup=0.3),
        PruneChannels(ratio=0.3, share=0.5, lr=0.05),
        Distill(teacher=MODEL, teacher_training=Train(lr=0.05), optimizer="adam", lr=0.002, share=0.5),
        PruneWeights(sparsity=0.4, steps=2, lr=0.02),
        Quantize(calibration_images=64),
    ),
)


def made(recipe: Recipe = RECIPE, **expected: Expected) -> RecipeFile:
    fingerprint = tasks.entry("digits").load().fingerprint
    source = Provenance(
        study="s@digits", trial=0, task="digits", data_fingerprint=fingerprint, seed=3, epochs=4
    )
    return RecipeFile(format=FORMAT, recipe=recipe, provenance=source, expected=expected)


class Killed(Exception):
    pass


@dataclass
class KilledAfter:
    """Reports until so many epochs are trained, then the run ends."""

    epochs: int
    trained: int = 0

    def __call__(self, *at: object) -> None:
        self.trained += 1
        if self.trained > self.epochs:
            raise Killed


def states(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.pt"))


def quiet(*at: object) -> None:
    pass


def weights_of(network):
    return dict(network.architecture.state_dict())


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path):
    task = tasks.entry("digits").load()
    run = Run(task, 4, 3, torch.device("cpu"), quiet)
    torch.set_num_threads(1)
    undisturbed = weights_of(run_recipe(RECIPE, run))
    kills = 0
    for _ in range(20):
        killer = KilledAfter(epochs=3)
        checkpoints = Checkpoints(tmp_path / "states")
        try:
            network = run_recipe(RECIPE, replace(run, report=killer, checkpoints=checkpoints))
        except Killed:
            kills += 1
        else:
            break
    assert kills >= 4
    assert states(tmp_path) == [
        "01-train.pt", "02-prune-channels.pt", "03-train.pt", "04-distill.pt",
        "05-prune-weights-1-2.pt", "06-prune-weights-2-2.pt",
    ]  # fmt: skip
    resumed = weights_of(network)
    assert all(torch.equal(undisturbed[name], value) for name, value in resumed.items())


def test_a_damaged_state_is_dropped(tmp_path: Path):
    checkpoint = Checkpoint(tmp_path / "01-train.pt")
    checkpoint.save({"epoch": 3})
    assert checkpoint.load() == {"epoch": 3}
    path = tmp_path / "01-train.pt"
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoint.load() is None
    assert not path.exists()
    assert Checkpoint(None).load() is None


@pytest.mark.slow
def test_what_comes_out_beside_what_was_expected(tmp_path: Path):
    score = "micronet_score:imt-2022"
    file = made(
        top1=Expected(value=0.5, tolerance=0.1, goal="maximize"),
        params=Expected(value=12.0, tolerance=0.0),
        **{score: Expected(value=0.0003, tolerance=0.001, goal="minimize")},
    )
    result, network, task = retrain(file, tmp_path, 2, 1, quiet)
    assert [seed.seed for seed in result.seeds] == [3, 4]
    assert result.seeds[0].validation != result.seeds[1].validation
    first = result.seeds[0]
    assert first.test["top1"] == task.top1(network.executed, task.test)
    assert set(first.before) == set(first.after) == {
        "top1", score, "size_mb", "params", "macs", "latency_median_ms", "fps", "inference_memory_mb",
    }  # fmt: skip
    assert first.before["params"] > first.after["params"]
    lines = {line.key: line for line in result.lines}
    values = [seed.validation["top1"] for seed in result.seeds]
    assert lines["top1"].mean == pytest.approx(sum(values) / 2)
    assert lines["top1"].deviation == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert not lines["params"].met
    assert not result.met
    # The test split is read once: the figures are found again.
    again, _, _ = retrain(file, tmp_path, 2, 1, quiet)
    assert again == result


@pytest.mark.slow
def test_another_budget_is_another_training(tmp_path: Path):
    file = made(Recipe(model=MODEL, stages=(Train(),)), top1=Expected(value=0.0, tolerance=1.0))
    result, _, _ = retrain(file, tmp_path, 1, 1, quiet)
    assert result.epochs == 1
    assert result.seeds[0].before == {}
    assert compare(file, result.seeds)[0].met
    retrain(file, tmp_path, 1, 2, quiet)
    assert len(list(tmp_path.iterdir())) == 2


def test_data_that_differs_is_refused(tmp_path: Path):
    file = made()
    other = file.provenance.model_copy(update={"data_fingerprint": "0" * 16})
    with pytest.raises(SearcherError, match="the data of task digits differs from that of the search"):
        retrain(file.model_copy(update={"provenance": other}), tmp_path, 1, None, quiet)
    absent = file.provenance.model_copy(update={"task": "imagenet"})
    with pytest.raises(SearcherError, match="no task named 'imagenet'"):
        retrain(file.model_copy(update={"provenance": absent}), tmp_path, 1, None, quiet)


def test_weights_that_a_recipe_begins_with(tmp_path: Path):
    task = tasks.entry("digits").load()
    run = Run(task, 2, 0, torch.device("cpu"), quiet)
    trained = run_recipe(Recipe(model=MODEL, stages=(Train(),)), run).architecture
    path = tmp_path / "given.pt"
    torch.save({"state_dict": {f"module.{k}": v for k, v in trained.state_dict().items()}}, path)
    given = MODEL.model_copy(update={"weights": str(path)})
    loaded = run_recipe(Recipe(model=given, stages=()), run).architecture
    assert all(torch.equal(v, trained.state_dict()[k]) for k, v in loaded.state_dict().items())
    wider = given.model_copy(update={"args": {"growth_rate": 8, "blocks": [1, 1]}})
    with pytest.raises(SearcherError, match=r"given\.pt: .*size mismatch"):
        run_recipe(Recipe(model=wider, stages=()), run)
    with pytest.raises(SearcherError, match=r"none\.safetensors: No such file"):
        run_recipe(Recipe(model=given.model_copy(update={"weights": "none.safetensors"}), stages=()), run)
