import contextlib
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from searcher import tasks
from searcher.compression import step
from searcher.compression.mixing import Mixing, beta, mixed
from searcher.compression.precision import autocast
from searcher.compression.schedules import schedule
from searcher.compression.stages.distill import distill
from searcher.compression.teaching import distillation_loss, outputs
from searcher.compression.training import Run, fit
from searcher.config.recipe import Distill, Model, Train
from searcher.errors import TrialError
from searcher.models import build
from searcher.tasks.base import Batch

CPU = torch.device("cpu")
TINY = {"growth_rate": 2, "blocks": [1, 1, 1, 1]}


def run(epochs: int = 1, seed: int = 0) -> Run:
    return Run(tasks.entry("digits").load(), epochs, seed, torch.device("cpu"), lambda *_: None)


def tiny(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build("densenet", TINY, in_channels=1, classes=10)


def parameters(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_training_learns():
    done = run(epochs=12)
    net = build("densenet", {"growth_rate": 6, "blocks": [1, 2, 2, 1]}, in_channels=1, classes=10)
    assert done.task.top1(net, done.task.validation) < 0.3
    fit(net, done, Train(), "train")
    assert done.task.top1(net, done.task.validation) > 0.6


def test_the_same_seed_gives_the_same_weights():
    nets = [fit(tiny(), run(seed=3), Train(mixup=0.3), "train") for _ in range(2)]
    pairs = zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_progress_is_reported_by_epoch():
    seen: list[tuple[str, int, int]] = []
    reporting = Run(
        tasks.entry("digits").load(), 4, 0, torch.device("cpu"), lambda s, e, n, a: seen.append((s, e, n))
    )
    fit(tiny(), reporting, Train(share=0.5), "finetune")
    assert seen == [("finetune", 1, 2), ("finetune", 2, 2)]


def test_a_loss_that_is_not_finite_ends_the_trial():
    with pytest.raises(TrialError, match="train: the loss is"):
        fit(tiny(), run(epochs=3), Train(lr=1e30), "train")


def test_a_share_is_at_least_one_epoch():
    assert [run(epochs=4).epochs_of(share) for share in (0, 0.01, 0.5, 1)] == [0, 1, 2, 4]


def test_schedule_warms_up_and_ends_near_zero():
    factor = schedule("cosine", 100)
    assert factor(0) == pytest.approx(0.1)
    assert max(factor(i) for i in range(100)) == 1
    assert factor(99) < 0.01


def test_mixup_keeps_the_mass_of_the_labels():
    table = Mixing(0.5, 0.0).draw(10, 10, (2, 2), torch.Generator().manual_seed(0))
    images, targets = mixed(torch.ones(10, 1, 2, 2), torch.arange(10), 10, table)
    assert torch.allclose(targets.sum(1), torch.ones(10))
    assert torch.allclose(images, torch.ones_like(images))


def test_beta_has_the_right_mean_and_variance():
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([beta(0.4, generator) for _ in range(4000)])
    assert draws.mean().item() == pytest.approx(0.5, abs=0.02)
    assert draws.var().item() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.05)


def test_distillation_without_weight_is_cross_entropy():
    logits, labels = torch.randn(8, 10), torch.arange(8)
    loss = distillation_loss(
        tasks.entry("digits").load(), lambda batch: torch.randn(8, 10), temperature=4, weight=0
    )
    assert loss(logits, Batch(torch.zeros(8, 1, 8, 8), labels, labels)) == F.cross_entropy(logits, labels)


def test_distillation_of_a_perfect_copy_costs_nothing():
    teacher, images = tiny().eval(), torch.randn(8, 1, 8, 8)
    loss = distillation_loss(
        tasks.entry("digits").load(), lambda batch: teacher(batch.images).detach(), temperature=3, weight=1
    )
    value = loss(teacher(images).detach(), Batch(images, torch.arange(8), torch.arange(8)))
    assert float(value) == pytest.approx(0, abs=1e-5)


def test_distillation_is_the_published_formula():
    teacher, images, logits = tiny().eval(), torch.randn(4, 1, 8, 8), torch.randn(4, 10)
    p = (teacher(images).detach() / 2).softmax(1)
    expected = 4 * sum(float((p[i] * (p[i] / (logits[i] / 2).softmax(0)).log()).sum()) for i in range(4)) / 4
    loss = distillation_loss(
        tasks.entry("digits").load(), lambda batch: teacher(batch.images).detach(), temperature=2, weight=1
    )
    value = loss(logits, Batch(images, torch.arange(4), torch.arange(4)))
    assert math.isclose(float(value), expected, rel_tol=1e-4)


def test_a_teacher_is_asked_once_where_nothing_is_augmented():
    teacher, task = tiny().eval(), replace(tasks.entry("digits").load(), shift=0)
    calls = []
    teacher.register_forward_hook(lambda *_: calls.append(1))
    teach = outputs(teacher, task, CPU, anew=False)
    asked = len(calls)
    chosen = torch.tensor([5, 700, 3])
    images = task.normalise(task.train.images[chosen])
    said = teach(Batch(images, task.train.labels[chosen], chosen))
    assert len(calls) == asked == math.ceil(len(task.train) / 500)
    with torch.no_grad(), autocast(CPU):
        assert torch.allclose(said, teacher(images), atol=0.05)


def test_a_teacher_sees_what_the_student_sees_where_images_are_augmented():
    teacher = tiny().eval()
    images = torch.randn(4, 1, 8, 8)
    said = outputs(teacher, tasks.entry("digits").load(), CPU, anew=True)(
        Batch(images, torch.arange(4), torch.arange(4))
    )
    assert torch.equal(said, teacher(images))
    assert not said.requires_grad


@pytest.mark.slow
def test_a_compiled_training_learns_what_the_plain_one_does(monkeypatch: pytest.MonkeyPatch):
    # Two steps in fp32: bfloat16 is rounded elsewhere in what is compiled, and every step makes much of that.
    monkeypatch.setattr(step, "autocast", lambda *_: contextlib.nullcontext())
    task = tasks.entry("digits").load().trained_on(256)
    weights = [parameters(tiny())]
    for how in ("off", "default"):
        model = tiny()
        run = Run(task, 1, 0, CPU, lambda *_: None, compile=how)
        fit(model, run, Train(batch_size=128), "train")
        weights.append(parameters(model))
    start, plain, compiled = weights
    assert (compiled - plain).norm() < 0.01 * (plain - start).norm()


def test_distill_trains_the_teacher_first():
    seen: list[str] = []
    reporting = Run(
        tasks.entry("digits").load(), 1, 0, torch.device("cpu"), lambda s, e, n, a: seen.append(s)
    )
    distill(tiny(), Distill(teacher=Model(name="densenet", args=TINY)), reporting)
    assert seen == ["teacher", "distill"]


@pytest.mark.parametrize(("train", "watched"), [(20, 50), (80, 80), (200, 100)])
def test_an_epoch_looks_at_no_more_validation_images_than_it_trains_on(train, watched, monkeypatch):
    monkeypatch.setattr("searcher.compression.training.MIN_WATCHED", 50)
    digits = tasks.entry("digits").load()
    task = replace(digits, train=digits.train.first(train), validation=digits.validation.first(100))
    seen = []
    real = type(task).quality
    monkeypatch.setattr(
        type(task), "quality", lambda self, m, split: seen.append(len(split)) or real(self, m, split)
    )
    fit(tiny(), Run(task, 1, 0, CPU, lambda *point: None), Train(), "train")
    assert seen == [watched]
