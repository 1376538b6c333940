"""SwiftNet's sizes beside the published ones; through every stage what is predicted is what is counted."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from searcher import models, tasks
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.training import Run
from searcher.config.metric import Metric
from searcher.config.recipe import (
    Distill,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    Recipe,
    Stage,
    Train,
)
from searcher.deploy import onnx
from searcher.deploy.agreement import agreement
from searcher.errors import SearcherError
from searcher.execution.measurement import Measurement, measure
from searcher.recipe import Teaching
from tests.conftest import Run as RunCommand

SINGLE: dict[str, Any] = {"width": 0.125, "features": 16, "grids": [2, 1]}
PYRAMID: dict[str, Any] = {"width": 0.125, "features": 16, "pyramid": True}
MOBILE: dict[str, Any] = {
    "encoder": "mobilenet_v2",
    "width": 0.25,
    "features": 16,
    "grids": [2, 1],
    "stride": 8,
}
FAMILIES = {"single": SINGLE, "pyramid": PYRAMID, "mobile": MOBILE}
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 0.002, "weight_decay": 0.0, "batch_size": 16}
BLOCKS = {"encoder.stem": 0.5, "encoder.block1": 0.5, "encoder.block2": 0.25}
STAGES: dict[str, tuple[Stage, ...]] = {
    "as it is": (),
    "by block": (PruneChannels(ratio=0, ratios=BLOCKS, share=1, **ADAM),),
    "all channels": (PruneChannels(ratio=0.5, share=1, **ADAM),),
    "sparse, int8": (PruneWeights(sparsity=0.3, share=1, **ADAM), Quantize()),
    "rewound, distilled": (
        Train(share=1, **ADAM),
        PruneChannels(ratio=0, ratios=BLOCKS, after="rewind", teaching=Teaching(), share=1, **ADAM),
    ),
    "begun anew, 16 bits": (
        Train(share=1, **ADAM),
        PruneChannels(ratio=0, ratios=BLOCKS, after="reinitialize", share=1, **ADAM),
        Quantize(exclude={"encoder": 16, "decoder": 16, "laterals": 16, "head": 16}),
    ),
    "pruned, int8": (PruneChannels(ratio=0, ratios=BLOCKS, share=1, **ADAM), Quantize()),
}


def run(images: int = 32) -> Run:
    task = tasks.entry("digit-masks").load().trained_on(images)
    return Run(task, 1, 0, torch.device("cpu"), lambda *_: None)


@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("args", FAMILIES.values(), ids=FAMILIES)
def test_predicted_is_counted(args: dict[str, Any], stages: tuple[Stage, ...]):
    recipe = Recipe(model=Model(name="swiftnet", args=args), stages=stages)
    running = run()
    predicted = predict(recipe, running.task.image, running.task.classes)
    assert predicted.ops is not None, predicted.reason
    network = run_recipe(recipe, running)
    measurement = Measurement(network, running.task, running.task.validation.first(32))
    reconcile(predicted.ops, measurement.ops, recipe)
    values = measure(measurement, [Metric(metric="miou"), Metric(metric="pixel_accuracy")])
    assert all(0 <= value <= 1 for value in values.values())


PUBLISHED: dict[str, tuple[tuple[str, ...], int, float]] = {
    "full": ((), 22_040_278, 209.67),
    "half of blocks 1 and 2": (("stem", "block1", "block2"), 20_857_526, 139.68),
    "half of all blocks": (("stem", "block1", "block2", "block3", "block4"), 6_010_806, 59.75),
}
"""Pruned parts, parameters and GMACs of the published table, for ADE20K's 150 classes."""


@pytest.mark.parametrize(("parts", "params", "gmacs"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_sizes(parts: tuple[str, ...], params: int, gmacs: float):
    """The published parameters; and GMACs of 1024×2048 pixels, with two of a norm for each of its outputs."""
    args = {"encoder": "resnet34", "pyramid": True, "stride": 8}
    ratios = {f"encoder.{part}": 0.5 for part in parts}
    stages = (PruneChannels(ratio=0, ratios=ratios),) if ratios else ()
    found = predict(Recipe(model=Model(name="swiftnet", args=args), stages=stages), (3, 1024, 2048), 150)
    assert found.ops is not None
    assert sum(op.params for op in found.ops) == params
    norms = sum(2 * math.prod(op.output) for op in found.ops if op.kind == "batch_norm")
    assert (sum(op.macs for op in found.ops) + norms) / 1e9 == pytest.approx(gmacs, abs=0.01)


def test_a_single_resolution_has_about_11_8_million_parameters():
    with torch.device("meta"):
        net = models.build("swiftnet", {}, in_channels=3, classes=19)
    assert sum(p.numel() for p in net.parameters()) == 11_797_071


@pytest.mark.parametrize("args", FAMILIES.values(), ids=FAMILIES)
def test_any_size_of_image(args: dict[str, Any]):
    net = models.build("swiftnet", args, in_channels=3, classes=5).eval()
    for sides in ((64, 64), (45, 60), (97, 33)):
        with torch.no_grad():
            assert net(torch.randn(1, 3, *sides)).shape == (1, 5, *sides)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            {"encoder": "resnet50"},
            "encoder: expected one of resnet18, resnet34, mobilenet_v2, got 'resnet50'",
        ),
        ({"stride": 2}, "stride: expected 4 or 8, got 2"),
    ],
)
def test_a_network_that_there_is_not(args: dict[str, Any], said: str):
    with pytest.raises(SearcherError, match=said):
        models.build("swiftnet", args, in_channels=3, classes=5)


def test_a_student_learns_from_its_teacher_by_pixel():
    model = Model(name="swiftnet", args=SINGLE)
    stage = Distill(teacher=model, teacher_training=Train(share=1, **ADAM), share=1, **ADAM)
    network = run_recipe(Recipe(model=model, stages=(stage,)), run())
    assert torch.isfinite(network.executed(run().task.example())).all()


@pytest.mark.slow
@pytest.mark.parametrize("args", FAMILIES.values(), ids=FAMILIES)
def test_files_that_deploy(args: dict[str, Any], tmp_path: Path):
    recipe = Recipe(model=Model(name="swiftnet", args=args), stages=(Train(**ADAM), Quantize()))
    running = run(64)
    network = run_recipe(recipe, running)
    assert network.prepared is not None
    example = running.task.example()
    onnx.export_float(network.architecture, example, tmp_path / "a.onnx")
    onnx.export_int8(network.prepared, example, tmp_path / "b.onnx")
    images = running.task.normalise(running.task.test.images[:4])
    with torch.no_grad():
        own = network.architecture(images)
    theirs = onnx.Runtime(tmp_path / "a.onnx")(images)
    assert torch.allclose(own, theirs, atol=1e-3)
    found = agreement(network, onnx.Runtime(tmp_path / "b.onnx"), running.task, running.task.test)
    assert found.metric == "mIoU"
    assert found.holds, found


@pytest.mark.slow
def test_a_search_on_the_masks_of_digits(place: Path, run_command: RunCommand):
    """The published rows in small: the whole network, blocks pruned in three ways, and int8."""
    result = run_command(
        *("run", "--study", "swiftnet", "--set", "task=digit-masks", "--workers", "2"),
        *("--set", "budget.trials=8", "--set", "budget.epochs=1", "--set", "budget.train_images=64"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "8 complete: swiftnet@digit-masks in runs" in result.stdout
    shown = run_command("show", "swiftnet").stdout
    assert "miou" in shown


def test_weights_of_another_task_are_taken_but_for_the_head(tmp_path: Path):
    other = models.build("swiftnet", SINGLE, in_channels=1, classes=5)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    model = Model(name="swiftnet", args=SINGLE, weights=str(tmp_path / "other.pt"))
    own = run_recipe(Recipe(model=model, stages=()), run()).architecture.state_dict()
    new = [key for key, value in other.state_dict().items() if not torch.equal(value, own[key])]
    assert new == ["head.2.weight", "head.2.bias"]
