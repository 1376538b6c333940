"""Published checkpoints with known accuracy on the real CIFAR-10 test set."""

from pathlib import Path

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.stages.quantize import QuantizeRunner
from searcher.compression.training import Run
from searcher.config.recipe import Quantize
from searcher.models import build
from searcher.tasks.classification.task import Classification

pytestmark = pytest.mark.slow
PUBLISHED = {"resnet20": ("resnet20-12fca82f.th", 0.9173)}


@pytest.fixture(scope="module")
def cifar10(real_data: Path) -> Classification:
    return tasks.entry("cifar10").load()


def checkpoint(real_data: Path, name: str) -> nn.Module:
    path = real_data / "resnet_cifar10" / PUBLISHED[name][0]
    if not path.is_file():
        pytest.skip(f"no {path}")
    stored = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    model = build(name, {}, in_channels=3, classes=10)
    model.load_state_dict({key.removeprefix("module."): value for key, value in stored.items()})
    return model.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_accuracy_and_int8_within_half_a_point(
    name: str, real_data: Path, cifar10: Classification
) -> None:
    model = checkpoint(real_data, name)
    published = PUBLISHED[name][1]
    accuracy = cifar10.top1(model, cifar10.test)
    print(f"{name}: {accuracy:.4f} in fp32")
    assert accuracy == pytest.approx(published, abs=5e-5)
    run = Run(cifar10, 1, 0, torch.device("cpu"), lambda *_: None)
    executed = QuantizeRunner().run(model, Quantize(), run).executed
    quantized = cifar10.top1(executed, cifar10.test)
    print(f"{name}: {quantized:.4f} in int8")
    assert abs(quantized - accuracy) <= 0.005
