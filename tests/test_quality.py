"""The device that quality is read on, the arithmetic, and what is said meanwhile."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from searcher import tasks
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.training import Run
from searcher.config.metric import Metric
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.execution.measurement import Measurement, measure
from searcher.execution.quality import CPU, device_for, full_precision, read
from searcher.execution.steps import counted
from searcher.tasks.base import Task, device_of

META = torch.device("meta")
"""A device that every machine has, on which a network runs and no figure can be read."""

METRICS = [Metric(metric="top1"), Metric(metric="params"), Metric(metric="macs")]


class Steps:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def __call__(self, name: str, done: int = 0, count: int = 0) -> None:
        self.told.append((name, done, count))

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _, _ in self.told))


@pytest.fixture(scope="module")
def digits() -> Task:
    return tasks.entry("digits").load()


def made(task: Task, *stages: Quantize) -> Network:
    model = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1]})
    return run_recipe(Recipe(model=model, stages=stages), Run(task, 1, 0, CPU, lambda *_: None))


def test_int8_stays_on_the_cpu_and_floats_go_where_they_can(digits: Task):
    network, int8 = made(digits), made(digits, Quantize(calibration_images=8))
    assert device_for(network, META) == META
    assert device_for(int8, META) == CPU
    assert read(network, META, device_of) == META
    assert read(int8, META, device_of) == CPU
    assert device_of(network.executed) == CPU  # the copy alone was moved


def precisions() -> list[str]:
    cudnn = torch.backends.cudnn
    return [one.fp32_precision for one in (cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul)]


def test_quality_is_read_in_all_digits_on_a_gpu_and_only_there(digits: Task):
    network, before = made(digits), precisions()
    assert "tf32" in before  # which is what cuDNN would compute in
    assert read(network, META, lambda model: precisions()) == ["ieee"] * 3
    assert read(network, CPU, lambda model: precisions()) == before
    assert precisions() == before
    with pytest.raises(ZeroDivisionError), full_precision():
        assert 1 / 0
    assert precisions() == before


def test_a_device_that_cannot_leaves_it_to_the_cpu_and_says_why(digits: Task):
    network, steps = made(digits), Steps()
    figures = partial(digits.figures, split=digits.test)
    assert read(network, META, figures, "measure top-1", steps) == figures(network.executed)
    (said,) = steps.names
    assert said.startswith("measure top-1 on the CPU, as meta cannot: ")
    assert "meta tensors" in said


def test_what_fails_on_the_cpu_too_fails(digits: Task):
    def reading(model: nn.Module) -> None:
        raise RuntimeError("no such thing")

    for device in (META, CPU):
        with pytest.raises(RuntimeError, match="no such thing"):
            read(made(digits), device, reading)


def test_measuring_says_each_step_once_and_counts_the_images(digits: Task):
    steps = Steps()
    measurement = Measurement(made(digits), digits, digits.validation, step=steps)
    figures = measure(measurement, METRICS)
    assert measure(replace(measurement, device=META), METRICS) == figures
    held_out = replace(measurement, split=digits.test)
    assert measure(held_out, METRICS[:1]) == {"top1": digits.top1(held_out.network.executed, digits.test)}
    assert [name for name in steps.names if " on the CPU" not in name] == [
        "measure top-1",
        "count operations",
        "measure top-1 on the test split",
    ]
    images = len(digits.validation)
    counts = [(done, count) for name, done, count in steps.told if name == "measure top-1"]
    assert counts[0] == (0, images)
    assert (images, images) in counts


def test_images_are_counted_over_networks_while_it_lasts():
    one, other, steps = nn.Identity(), nn.ReLU(), Steps()
    with counted(steps, "compare", 10, one, other):
        one(torch.zeros(4, 1))
        other(torch.zeros(5, 1))
        one(torch.zeros(6, 1))  # more than was told: the count stays the end
    one(torch.zeros(3, 1))
    assert steps.told == [("compare", 0, 10), ("compare", 4, 10), ("compare", 9, 10), ("compare", 10, 10)]


class Shifted(nn.Module):
    """Predicts the class after the one that its images' first pixel says."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, images: Tensor) -> Tensor:
        first = images[:, 0, 0, 0].round().long()
        return nn.functional.one_hot((first + self.by) % 10, 10).float()


def test_a_comparison_is_the_qualities_and_the_agreement(digits: Task):
    one, other = made(digits).executed, made(digits).executed
    with torch.no_grad():
        next(other.parameters()).add_(torch.randn(1))
    for first, second in ((one, one), (one, other), (Shifted(0), Shifted(1)), (one, Shifted(0))):
        apart = Task.compare(digits, first, second, digits.test)
        assert digits.compare(first, second, digits.test) == apart
    assert digits.compare(Shifted(0), Shifted(1), digits.test)[2] == 0
    assert digits.compare(Shifted(0), Shifted(0), digits.test)[2] == 1
