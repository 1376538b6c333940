"""What a user may add from one file of their own: nothing shipped knows any of it."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from searcher import models, tasks
from searcher.compression.engines import channel_pruning
from searcher.compression.network import Network, floating
from searcher.compression.outlined import Outlined
from searcher.compression.stages import RUNNERS
from searcher.compression.stages.base import Runner
from searcher.compression.training import Run as Training
from searcher.config import recipe
from searcher.config.cluster import Cluster
from searcher.config.recipe import Stage
from searcher.costs import scores
from searcher.execution.cluster.base import End, Function, Jobs
from searcher.execution.cluster.engines import ENGINES
from searcher.tasks.base import Batch, Figure, Split, Task, share
from tests.conftest import Run


# A stage that replaces modules.
class FactoredLinear(Stage):
    """Linear layers as the product of two of a lower rank, by singular values."""

    kind: Literal["factored_linear"] = "factored_linear"
    rank: ClassVar[None] = None
    rank_share: float = Field(gt=0, le=1)

    def words(self) -> str:
        return f"rank {self.rank_share:.0%}"


class FactoredLinearRunner(Runner[FactoredLinear]):
    def run(self, model: nn.Module, stage: FactoredLinear, run: Training) -> Network:
        return floating(factored(model, stage))

    def predict(self, outlined: Outlined, stage: FactoredLinear) -> None:
        factored(outlined.model, stage)
        outlined.trace()


def factored(model: nn.Module, stage: FactoredLinear) -> nn.Module:
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]:
        rank = max(1, round(stage.rank_share * min(layer.weight.shape)))
        device = layer.weight.device
        first = nn.Linear(layer.in_features, rank, bias=False, device=device)
        second = nn.Linear(rank, layer.out_features, device=device)
        if device.type != "meta":
            u, s, v = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
            first.weight.data = v[:rank].contiguous()
            second.weight.data = (u[:, :rank] * s[:rank]).contiguous()
            second.bias.data = layer.bias.data
        model.set_submodule(name, nn.Sequential(first, second))
    return model


# A kind of task, with its data.
@dataclass(frozen=True)
class Regression(Task):
    """A number of each image."""

    figure: ClassVar[str] = "R2"
    metrics: ClassVar[tuple[str, ...]] = ("r2",)
    labels: ClassVar[Mapping[str, Figure]] = {
        "r2": share("explained variance"),
        "mae": Figure("error", "minimize"),
    }

    @classmethod
    def misfit(cls, outputs: Any, count: int, classes: int) -> str:
        return (
            ""
            if outputs.shape == (count, 1)
            else f"returns {tuple(outputs.shape)}, expected a number an image"
        )

    def outputs(self, sizes: Any) -> str:
        return "the number"

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(outputs[:, 0], batch.targets)

    def divergence(self, outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
        return F.mse_loss(outputs, taught)

    @torch.no_grad()
    def figures(self, model: nn.Module, split: Split) -> dict[str, float]:
        model.eval()
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        off = model(self.normalise(split.images.to(device)))[:, 0].float().cpu() - split.labels.cpu()
        explained = 1 - float(off.square().mean() / split.labels.var())
        return {"r2": max(0.0, explained), "mae": float(off.abs().mean())}

    def quality(self, model: nn.Module, split: Split) -> float:
        return self.figures(model, split)["r2"]

    @torch.no_grad()
    def agreement(self, one: nn.Module, other: nn.Module, split: Split) -> float:
        images = self.normalise(split.images)
        return float(((one(images) - other(images)).abs() < 0.02).double().mean())


def ink() -> Regression:
    """How much of a digit's image is dark."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images.astype("uint8")[:400, None])
    labels = images.float().mean((1, 2, 3)) / 4 - 1.2
    parts = [Split(images[a:b], labels[a:b]) for a, b in ((0, 200), (200, 300), (300, 400))]
    return Regression("ink", 1, *parts, (0.305,), (0.376,), 16.0)


# A family of models.
def pyramid(in_channels: int, classes: int, width: int = 8) -> nn.Module:
    blocks = [
        nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)
        )
        for i, o in ((in_channels, width), (width, 2 * width))
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(8 * width, 8), nn.ReLU(), nn.Linear(8, classes))


# A criterion of pruning.
def largest(model: nn.Module, batches: Iterable[Tensor], seed: int) -> channel_pruning.Scores:
    convolutions = ((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    return {name: m.weight.detach().abs().amax((1, 2, 3)) for name, m in convolutions}


# A score.
BITS = scores.Variant(
    params=lambda op: op.params * op.bits / 32,
    ops=lambda op, free, accumulator: op.macs * op.bits / 32,
    reference=scores.Reference("a thousand of each", 1e3, 1e3),
    freebie_bits=32,
    accumulator_bits=32,
    summary="dense, at the executed width",
    known={},
)


# What runs jobs.
class Here(Jobs):
    """One job after another in the driver's process."""

    survive, inside, polled = False, True, False

    def __init__(self) -> None:
        self._waiting: dict[str, Callable[[], None]] = {}

    def submit(
        self, cluster: Cluster, folder: Path, name: str, tasks: int, function: Function, *args: Any
    ) -> str:
        self._waiting[name] = partial(function, *args)
        return name

    def named(self, folder: Path, name: str) -> str | None:
        return None

    def ended(self, ids: Sequence[str]) -> tuple[dict[str, End], str]:
        waiting = next((name for name in ids if name in self._waiting), None)
        if waiting is None:
            return {name: End("it is over") for name in ids}, ""
        self._waiting.pop(waiting)()
        return {waiting: End("it ended without a result")}, ""

    def cancel(self, ids: Sequence[str]) -> None:
        for name in ids:
            self._waiting.pop(name, None)

    @staticmethod
    def rank() -> int:
        return 0


def extend() -> None:
    recipe.register(FactoredLinear)
    RUNNERS["factored_linear"] = FactoredLinearRunner()
    tasks.TASKS["ink"] = tasks.Entry(ink, (1, 8, 8), 1, Regression)
    models.MODELS["pyramid"] = pyramid
    recipe.CRITERIA.append("largest")
    channel_pruning.SCORED["largest"] = largest
    scores.VARIANTS["bits"] = BITS
    ENGINES["here"] = f"{__name__}:Here"


SPACE = """
from searcher.recipe import Model, PruneChannels, Quantize, Recipe, Train
from tests.test_extending import FactoredLinear

ENQUEUE = [{"width": 8, "share": 0.5}]

def suggest(trial):
    share = trial.suggest_float("share", 0.25, 1)
    stages = (
        Train(lr=0.02),
        FactoredLinear(rank_share=share),
        PruneChannels(ratio=0.3, criterion="largest", share=0.5, lr=0.01),
        Quantize(calibration_images=64),
    )
    args = {"width": trial.suggest_int("width", 4, 12)}
    return Recipe(model=Model(name="pyramid", args=args), stages=stages)
"""
STUDY = """
task = "ink"
space = "own"
early_stopping = { enabled = false }
[reference]
name = "pyramid"
args = { width = 16 }
[[objectives]]
metric = "r2"
goal = "maximize"
[[objectives]]
metric = "micronet_score"
variant = "bits"
goal = "minimize"
[budget]
trials = 2
epochs = 6
"""
FILES = {
    "plugins/own.py": "from tests.test_extending import extend\n\nextend()\n",
    "spaces/own.py": SPACE,
    "studies/own.toml": STUDY,
}


@pytest.fixture
def own(place: Path) -> Iterator[Path]:
    for name, text in FILES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    registries: list[dict[str, Any]] = [
        RUNNERS,
        tasks.TASKS,
        models.MODELS,
        channel_pruning.SCORED,
        scores.VARIANTS,
    ]
    before = [dict(one) for one in registries]
    yield place
    for one, content in zip(registries, before, strict=True):
        one.clear()
        one.update(content)
    for kind in ("factored_linear", "pause"):
        recipe.STAGES.pop(kind, None)
    recipe.CRITERIA[:] = [name for name in recipe.CRITERIA if name != "largest"]
    recipe.register()


@pytest.mark.slow
def test_all_of_a_users_own_goes_from_a_search_to_a_deployed_file(own: Path, run_command: Run):
    def run(*args: str) -> str:
        ran = run_command(*args)
        assert ran.status == 0, ran.out + ran.err
        return ran.out

    assert "study own@ink is fine" in run("check", "--study", "own")
    run("run", "--study", "own", "--workers", "1", "--cluster", "here")
    shown = run("show", "own")
    assert "bits" in shown
    assert "rank " in shown
    kept = run("store", "ls")
    assert "rank " in kept
    table = run("sweep", "--study", "own", "--stage", "factored_linear.rank_share=0.5,1")
    assert "r2" in table
    assert "rank " in run("export", "--study", "own", "-o", "own.toml")
    cost = run("cost", "own.toml", "--input", "1,1,8,8", "--classes", "1")
    assert "predicted from shapes" in cost
    run("retrain", "own.toml")
    metrics = json.loads((own / "own" / "metrics.json").read_text())
    assert metrics["onnx"]["model.int8.onnx"]["metric"] == "R2"
    assert metrics["onnx"]["model.int8.onnx"]["equal_share"] >= 0.95
    assert "the number" in (own / "own" / "README.md").read_text()


IN_ITS_OWN_FILE = """
from typing import Literal

from searcher.compression.network import floating
from searcher.compression.stages import RUNNERS
from searcher.compression.stages.base import Runner
from searcher.config.recipe import Stage, register


class Pause(Stage):
    kind: Literal["pause"] = "pause"


class PauseRunner(Runner[Pause]):
    def run(self, model, stage, run):
        return floating(model)


register(Pause)
RUNNERS["pause"] = PauseRunner()
"""


@pytest.mark.slow
def test_a_class_of_a_plugin_reaches_a_trials_process(own: Path, run_command: Run):
    (own / "plugins" / "mine.py").write_text(IN_ITS_OWN_FILE)
    space = (own / "spaces" / "tiny.py").read_text()
    space = space.replace("stages = [Train(lr=0.05)]", "stages = [Train(lr=0.05), Pause()]")
    (own / "spaces" / "tiny.py").write_text("from plugins.mine import Pause\n" + space)
    ran = run_command("run", "--study", "tiny", "--set", "budget.trials=1", "--workers", "1")
    assert ran.status == 0, ran.out + ran.err
    assert "pause" in run_command("show", "tiny").out


def test_a_stage_of_any_rank_does_not_follow_int8(own: Path):
    extend()
    low = FactoredLinear(rank_share=1)
    assert recipe.Recipe(model=recipe.Model(name="resnet20"), stages=(recipe.PruneWeights(sparsity=0.5), low))
    with pytest.raises(ValueError, match="a later stage would undo an earlier one"):
        recipe.Recipe(model=recipe.Model(name="resnet20"), stages=(recipe.Quantize(), low))


def test_what_is_not_registered_is_refused(place: Path, run_command: Run):
    for name, text in FILES.items():
        if not name.startswith("plugins"):
            (place / name).write_text(text)
    refused = run_command("check", "--study", "own")
    assert refused.status == 2
    assert "no task named 'ink'" in refused.err


def test_a_plugin_that_does_not_run_is_named(place: Path, run_command: Run):
    (place / "plugins").mkdir()
    (place / "plugins" / "broken.py").write_text("import nothing_of_the_kind\n")
    refused = run_command("ls")
    assert refused.status == 2
    assert "plugins/broken.py: ModuleNotFoundError" in refused.err
