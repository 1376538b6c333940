"""Techniques of a training that are off by default: known answers, laws, and what comes of a killed run."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from searcher import tasks
from searcher.compression import training
from searcher.compression.average import Average
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.optimizer import Optimizer
from searcher.compression.pipeline import run_recipe
from searcher.compression.schedules import SCHEDULES, schedule
from searcher.compression.training import Run, fit
from searcher.config.recipe import Model, PruneChannels, Recipe, Train, Training
from searcher.errors import TrialError
from searcher.models import build
from tests.helpers.tape import TapeRecorder

CPU = torch.device("cpu")
EVERY = Train(
    optimizer="adamw",
    lr=0.002,
    batch_size=50,
    schedule="one-cycle",
    label_smoothing=0.1,
    mixup=0.3,
    cutmix=1.0,
    cutout=0.4,
    colour=0.3,
    rotation=15,
    ema=0.9,
)


def digits(images=230):
    task = tasks.entry("digits").load()
    return replace(task, train=task.train.first(images), validation=task.validation.first(120), flip=True)


def a_run(epochs=6, report=lambda *_: None, **others):
    return Run(digits(), epochs, 0, CPU, report, **others)


def tiny():
    torch.manual_seed(0)
    return build("densenet", {"growth_rate": 2, "blocks": [1, 1, 1, 1]}, in_channels=1, classes=10)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "first", "middle", "last"),
    [
        ("cosine", 0.1, 0.5, 0.000304),  # the middle of what follows the warm-up
        ("linear", 0.1, 0.5, 1 / 90),
        ("step", 1, 0.1, 0.01),
        ("constant", 1, 1, 1),
        ("one-cycle", 0.04, 0.696514, 4e-6),
    ],
)
def test_schedules_are_known_at_the_beginning_the_middle_and_the_end(name, first, middle, last):
    factor = schedule(name, 100)
    assert factor(0) == pytest.approx(first)
    assert factor(55) == pytest.approx(middle, abs=1e-5)
    assert factor(99) == pytest.approx(last, abs=1e-5)


def test_a_stepped_schedule_falls_at_a_half_and_at_three_quarters():
    factor = schedule("step", 100)
    assert [factor(step) for step in (49, 50, 74, 75)] == [1.0, 0.1, 0.1, 0.01]


@pytest.mark.parametrize("steps", [2, 3, 10, 100])
def test_one_cycle_is_torchs(steps):
    rate = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(rate, 1.0, steps, cycle_momentum=False)
    factor, seen = schedule("one-cycle", steps), []
    for _ in range(steps):
        seen.append(rate.param_groups[0]["lr"])
        rate.step()
        if len(seen) < steps:
            torchs.step()
    assert [factor(step) for step in range(steps)] == pytest.approx(seen, abs=1e-6)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300))
def test_a_schedule_stays_between_nothing_and_the_rate(name, steps):
    factors = [schedule(name, steps)(step) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)


@given(st.floats(-1e3, 1e3, width=32), st.floats(0, 0.999), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_the_average_of_a_constant_is_the_constant(value, decay, steps):
    network = nn.BatchNorm1d(2)
    for tensor in network.state_dict().values():
        tensor.fill_(value)
    average = Average(network, decay, CPU)
    for step in range(steps):
        average.at(step)
        average.step()
    assert all((tensor == value).all() for tensor in average.tensors())


def test_the_average_is_known():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(0.0)
    average = Average(network, 0.5, CPU)
    for step, weight in enumerate([1.0, 2.0]):
        network.weight.data.fill_(weight)
        average.at(step)
        average.step()
    # Decays of 1/10 and 2/11, which are below what was asked for.
    assert float(average.tensors()[0]) == pytest.approx(0.9 + (2 - 0.9) * 9 / 11)
    average.at(1000)
    assert float(average.share) == 0.5
    with average.shown():
        assert network.weight.item() == pytest.approx(1.8)
    assert network.weight.item() == 2.0


def test_what_comes_out_of_a_training_is_the_average_that_its_epochs_were_read_on():
    seen = []
    run = a_run(2, lambda stage, epoch, epochs, accuracy: seen.append(accuracy))
    model = fit(tiny(), run, Train(ema=0.95, lr=0.05, batch_size=50), "train")
    assert run.task.quality(model, run.task.validation) == pytest.approx(seen[-1], abs=0.02)
    assert not same(model, fit(tiny(), run, Train(lr=0.05, batch_size=50), "train"))


def test_adamw_is_torchs_and_decays_the_weights_themselves():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(one.state_dict())
    ours = Optimizer(one, Training(kind="", optimizer="adamw", lr=0.01, weight_decay=0.1), CPU)
    torchs = torch.optim.AdamW(other.parameters(), 0.01, weight_decay=0.1)
    x = torch.randn(4, 3)
    for _ in range(3):
        ours.step(one(x).square().sum())
        torchs.zero_grad()
        other(x).square().sum().backward()
        torchs.step()
    assert torch.allclose(one.weight, other.weight, atol=1e-6)


def test_fp16_scales_the_loss_and_leaves_out_a_step_that_overflows():
    layer = nn.Linear(2, 1)
    optimizer = Optimizer(layer, Training(kind="", lr=0.1, weight_decay=0.0, precision="fp16"), CPU)
    before = layer.weight.detach().clone()
    optimizer.step(layer(torch.full((1, 2), 1e38)).sum())
    assert torch.equal(layer.weight, before)
    scale = float(optimizer.tensors()[-2])
    assert scale == 2.0**15, "half of torch's first"
    optimizer.step(layer(torch.ones(1, 2)).sum())
    assert torch.allclose(layer.weight, before - 0.1 * 1.9)  # Nesterov's first step


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_in_each_precision_runs_in_it(precision):
    kinds, model = set(), tiny()
    layer = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    layer.register_forward_hook(lambda _module, _inputs, output: kinds.add(output.dtype))
    fit(model, a_run(1), Train(batch_size=115, lr=0.05, precision=precision), "train")
    expected = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert kinds == {expected[precision]}


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_a_replayed_training_with_every_technique_is_the_training(precision, monkeypatch):
    stage = EVERY.model_copy(update={"precision": precision})
    plain = fit(tiny(), a_run(), stage, "train")
    recorder = TapeRecorder()
    monkeypatch.setattr(training, "recorder", lambda device: recorder)
    assert same(plain, fit(tiny(), a_run(), stage, "train"))
    assert sorted(recorder.played) == [3, 3, 21]


def killed_after_two_epochs(stage, epoch, *_):
    if epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_a_training_with_every_technique_that_was_killed_goes_on_as_if_it_were_not(precision, tmp_path):
    stage = EVERY.model_copy(update={"precision": precision})
    whole = fit(tiny(), a_run(4), stage, "train")
    with pytest.raises(KeyboardInterrupt):
        fit(tiny(), a_run(4, killed_after_two_epochs, checkpoints=Checkpoints(tmp_path)), stage, "train")
    assert same(whole, fit(tiny(), a_run(4, checkpoints=Checkpoints(tmp_path)), stage, "train"))
    # And one that was finished is what it was.
    assert same(whole, fit(tiny(), a_run(4, checkpoints=Checkpoints(tmp_path)), stage, "train"))


@pytest.mark.parametrize("name", ["label_smoothing", "mixup", "cutmix", "cutout", "rotation"])
def test_a_task_without_classes_refuses_what_is_for_them(name):
    task = tasks.entry("digit-scenes").load()
    with pytest.raises(TrialError, match=f"train: {name} .*labels of task digit-scenes are no classes"):
        fit(nn.Identity(), Run(task, 1, 0, CPU, lambda *_: None), Train(**{name: 0.5}), "train")


def test_what_a_task_cannot_take_is_told_before_anything_trains():
    task, seen = tasks.entry("digit-scenes").load(), []
    run = Run(task, 1, 0, CPU, lambda *point: seen.append(point))
    recipe = Recipe(
        model=Model(name="yolo"), stages=(Train(), PruneChannels(ratio=0.3, rotation=10, mixup=0.2))
    )
    with pytest.raises(TrialError, match=r"prune channels: mixup mixes .*, rotation turns .*digit-scenes"):
        run_recipe(recipe, run)
    assert not seen


def test_words_say_what_is_on():
    assert Train().words() == ""
    assert Train(mixup=0.2).words() == "mixup 0.20"
    assert Train(rotation=15, ema=0.999, schedule="step", precision="fp16").words() == (
        "rotation 15°, averaged 0.999, step schedule, fp16"
    )
