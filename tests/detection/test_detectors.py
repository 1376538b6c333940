"""Both families through every stage: what is predicted is what is counted, and what is returned stays."""

from pathlib import Path
from typing import Any

import pytest
import torch

from searcher import models, tasks
from searcher.compression.engines.channel_pruning import activation_scores, random_scores
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.training import Run
from searcher.config.metric import Metric
from searcher.config.recipe import Distill, Model, PruneChannels, PruneWeights, Quantize, Recipe, Stage, Train
from searcher.deploy import onnx
from searcher.deploy.agreement import agreement
from searcher.errors import SearcherError
from searcher.execution.measurement import Measurement, measure
from searcher.models.mobilenet import scaled
from tests.conftest import Run as RunCommand

SSD: tuple[str, dict[str, Any]] = ("ssd_mobilenet_v2", {"width": 0.25, "finest": 8, "extras": 1})
SSD1: tuple[str, dict[str, Any]] = ("ssd_mobilenet_v1", {"width": 0.25, "extras": 0})
YOLO: tuple[str, dict[str, Any]] = ("yolo", {"width": 0.125})
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 0.001, "weight_decay": 0.0}
STAGES: dict[str, tuple[Stage, ...]] = {
    "as it is": (),
    "torch-pruning, twice": (PruneChannels(ratio=0.3, share=1), PruneChannels(ratio=0.3, share=1)),
    "nni": (PruneChannels(ratio=0.3, engine="nni", share=1),),
    "by activations": (PruneChannels(ratio=0.3, criterion="activation", share=1),),
    "at random, nni": (PruneChannels(ratio=0.3, criterion="random", engine="nni", share=1),),
    "sparse, int8": (PruneWeights(sparsity=0.3, share=1), Quantize()),
    "int8 without heads": (PruneChannels(ratio=0.3, share=1), Quantize(exclude={"heads": 32})),
}


def run(images: int = 32) -> Run:
    task = tasks.entry("digit-scenes").load().trained_on(images)
    return Run(task, 1, 0, torch.device("cpu"), lambda *_: None)


@pytest.mark.parametrize("stages", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("family", [SSD, YOLO], ids=["ssd", "yolo"])
def test_predicted_is_counted(family: tuple[str, dict[str, Any]], stages: tuple[Stage, ...]):
    recipe = Recipe(model=Model(name=family[0], args=family[1]), stages=stages)
    running = run()
    predicted = predict(recipe, running.task.image, running.task.classes)
    assert predicted.ops is not None, predicted.reason
    network = run_recipe(recipe, running)
    measurement = Measurement(network, running.task, running.task.validation)
    reconcile(predicted.ops, measurement.ops, recipe)
    values = measure(measurement, [Metric(metric="map"), Metric(metric="map50")])
    assert 0 <= values["map"] <= values["map50"] <= 1


@pytest.mark.parametrize("family", [SSD, SSD1, YOLO], ids=["ssd", "ssd1", "yolo"])
def test_a_detector_learns_from_its_teacher(family: tuple[str, dict[str, Any]]):
    model = Model(name=family[0], args=family[1])
    teaching = Train(share=1, **ADAM)
    stage = Distill(teacher=model, teacher_training=teaching, share=1, **ADAM)
    network = run_recipe(Recipe(model=model, stages=(stage,)), run())
    maps = network.executed(run().task.example())
    assert all(torch.isfinite(m).all() for m in maps)


def test_published_sizes():
    """MobileNetV2 has 3.50 million parameters, V1 4.2 million, for ImageNet's 1,000 classes."""
    v2 = models.build("mobilenet_v2", {}, in_channels=3, classes=1000)
    assert sum(p.numel() for p in v2.parameters()) == 3_504_872
    v1 = models.build("mobilenet_v1", {}, in_channels=3, classes=1000)
    assert sum(p.numel() for p in v1.parameters()) == 4_231_976
    assert [scaled(c, 0.35) for c in (32, 16, 24, 1280)] == [16, 8, 8, 448]


@pytest.mark.parametrize("family", [SSD, YOLO], ids=["ssd", "yolo"])
@pytest.mark.slow
def test_files_that_deploy(family: tuple[str, dict[str, Any]], tmp_path: Path):
    recipe = Recipe(model=Model(name=family[0], args=family[1]), stages=(Train(**ADAM), Quantize()))
    running = run(64)
    network = run_recipe(recipe, running)
    assert network.prepared is not None
    example = running.task.example()
    onnx.export_float(network.architecture, example, tmp_path / "a.onnx")
    onnx.export_int8(network.prepared, example, tmp_path / "b.onnx")
    images = running.task.normalise(running.task.test.images[:4])
    with torch.no_grad():
        own = network.architecture(images)
    for mine, theirs in zip(own, onnx.Runtime(tmp_path / "a.onnx")(images), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-3)
    for name in ("a.onnx", "b.onnx"):
        sizes = {f"map{place}": tuple(one.shape[1:]) for place, one in enumerate(own)}
        assert onnx.outputs(tmp_path / name) == sizes
    found = agreement(network, onnx.Runtime(tmp_path / "b.onnx"), running.task, running.task.test)
    assert found.metric == "AP50"
    assert found.quality_onnx == pytest.approx(found.quality, abs=0.02)


def test_an_onnx_file_is_measured(place: Path, run_command: RunCommand):
    onnx.export_float(torch.nn.Conv2d(1, 8, 3).eval(), torch.randn(1, 1, 64, 64), place / "net.onnx")
    result = run_command("measure", "net.onnx", "--batch", "4", "--runs", "5")
    assert result.returncode == 0, result.stderr
    assert "net.onnx, by ONNX Runtime" in result.stdout
    assert "batch 4" in result.stdout
    assert "onnxruntime" in result.stdout
    missing = run_command("measure", "not.onnx")
    assert missing.returncode == 2
    assert "no file not.onnx" in missing.stderr


def test_int8_maps_are_those_of_the_float_network():
    """A tensor that two concatenations read must not keep a scale of its own: torch would saturate it."""
    running = run(64)
    network = run_recipe(
        Recipe(model=Model(name=YOLO[0], args=YOLO[1]), stages=(Train(share=4, **ADAM), Quantize())), running
    )
    images = running.task.normalise(running.task.train.images[:32])
    with torch.no_grad():
        pairs = zip(network.architecture(images), network.executed(images), strict=True)
    for own, theirs in pairs:
        assert float((own - theirs).square().mean().sqrt()) < 0.05 * float(own.max() - own.min())


def test_scores_by_activations_are_those_behind_the_activation():
    torch.manual_seed(0)
    conv, norm = torch.nn.Conv2d(1, 3, 1), torch.nn.BatchNorm2d(3)
    conv.weight.data.fill_(1.0)
    norm.weight.data = torch.tensor([1.0, 0.0, 5.0])
    norm.bias.data = torch.tensor([0.0, 0.5, -100.0])
    net = torch.nn.Sequential(conv, norm, torch.nn.ReLU())
    found = activation_scores(net, [torch.randn(8, 1, 4, 4)], 0)["0"]
    assert found[2] == 0
    assert found[1] == pytest.approx(0.5)
    assert found[0] > 0
    again = [random_scores(net, [], 1)["0"] for _ in range(2)]
    assert torch.equal(again[0], again[1])


def test_a_figure_that_the_task_has_not(place: Path, run_command: RunCommand):
    (place / "studies" / "boxes.toml").write_text(
        'extends = "tiny"\n[[constraints]]\nmetric = "map"\nat_least = 0.1\n'
    )
    result = run_command("run", "--study", "boxes")
    assert result.returncode == 2
    assert "task digits has no metric map: it has top1" in result.stderr


def test_mixup_needs_classes():
    recipe = Recipe(model=Model(name=YOLO[0], args=YOLO[1]), stages=(Train(mixup=0.5),))
    with pytest.raises(
        Exception, match="mixup mixes the classes of images, and the labels of task digit-scenes"
    ):
        run_recipe(recipe, run())


def test_a_size_that_a_family_has_not():
    with pytest.raises(SearcherError, match="size: expected one of n, s, m, l, x, got 'q'"):
        models.build("yolo", {"size": "q"}, in_channels=3, classes=2)


@pytest.mark.slow
def test_a_front_of_detectors(place: Path, run_command: RunCommand):
    result = run_command(
        *("run", "--study", "pedestrian", "--set", "task=digit-scenes"),
        *("--set", "budget.trials=1", "--set", "budget.epochs=1", "--set", "budget.train_images=64"),
        *("--workers", "2"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pedestrian@digit-scenes in runs" in result.stdout
