"""Trainings with a teacher: its outputs, its layers, fixed views, and what makes it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from searcher import tasks
from searcher.compression import training
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.layers import attention, attention_loss, feature_loss
from searcher.compression.pipeline import run_recipe
from searcher.compression.stages.distill import distill
from searcher.compression.store import Store
from searcher.compression.teaching import distillation_loss, teacher_of
from searcher.compression.training import Run
from searcher.compression.views import drawn
from searcher.config.recipe import Distill, Model, PruneChannels, Quantize, Recipe, Teaching, Train
from searcher.errors import SearcherError, TrialError
from searcher.execution.rehearsal import BEFORE, rehearse_once
from searcher.models import build
from searcher.tasks.base import Batch
from tests.helpers.tape import TapeRecorder

CPU = torch.device("cpu")
SMALL = Model(name="densenet", args={"growth_rate": 2, "blocks": [1, 1, 1, 1]})
LARGER = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1, 1, 1]})
PAIRS = {"dense1": "dense1", "dense3": "dense2"}


def a_run(epochs=6, report=lambda *_: None, images=230, **others):
    task = tasks.entry("digits").load()
    task = replace(task, train=task.train.first(images), validation=task.validation.first(120))
    return Run(task, epochs, 0, CPU, report, **others)


def densenet(model=SMALL):
    torch.manual_seed(0)
    return build(model.name, model.args, in_channels=1, classes=10)


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def stage(**options):
    short = {"teacher": LARGER, "teacher_training": Train(share=0.2), "lr": 0.05, "batch_size": 50}
    return Distill.model_validate(short | options)


def test_at_a_high_temperature_the_logits_are_matched():
    task, generator = tasks.entry("digits").load(), torch.Generator().manual_seed(0)
    own, taught = (torch.randn(4, 10, generator=generator) for _ in range(2))
    own, taught = (x - x.mean(1, keepdim=True) for x in (own, taught))
    own.requires_grad_()
    loss = distillation_loss(task, lambda batch: taught, temperature=100, weight=1)
    loss(own, Batch(torch.zeros(4, 1, 8, 8), torch.arange(4), torch.arange(4))).backward()
    # Hinton et al. (2015), equation 4, times the temperature squared, in the mean over the batch.
    expected = (own.detach() - taught) / 10 / 4
    assert (own.grad - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_weight_at_its_limit_leaves_one_of_the_losses(weight):
    task, taught, labels = tasks.entry("digits").load(), torch.randn(4, 10), torch.arange(4)
    loss = distillation_loss(task, lambda batch: taught, temperature=2, weight=weight)
    gradients = []
    for alone in (loss, lambda o, b: task.divergence(o, taught, 2.0) if weight else task.loss(o, b)):
        own = torch.linspace(-1, 1, 40).view(4, 10).requires_grad_()
        alone(own, Batch(torch.zeros(4, 1, 8, 8), labels, labels)).backward()
        gradients.append(own.grad)
    assert torch.equal(*gradients)


def test_attention_is_known():
    maps = torch.zeros(1, 2, 2, 2)
    maps[0, :, 0, 0], maps[0, 1, 1, 1] = 1.0, -2.0
    # The mean squares of the channels are 1 and 2, of length √5.
    assert attention(maps)[0].tolist() == pytest.approx([1 / 5**0.5, 0, 0, 2 / 5**0.5])
    assert attention_loss(maps, 3 * maps[:, :1].expand(1, 5, 2, 2)) == pytest.approx(
        ((1 - 1 / 5**0.5) ** 2 + 4 / 5) / 4
    )
    assert attention_loss(maps, 7 * maps) == pytest.approx(0, abs=1e-12)


def test_features_are_held_against_each_other_in_the_smaller_size():
    large = torch.arange(16.0).view(1, 1, 4, 4)
    small = torch.tensor([[2.5, 4.5], [10.5, 12.5]]).view(1, 1, 2, 2)
    assert feature_loss(large, small) == 0
    assert feature_loss(small, large + 2) == 4


def test_attention_is_learned():
    run, distances = a_run(4), []
    seen: list[torch.Tensor] = []
    for weight in (0.0, 1000.0):
        learned = stage(attention={"dense3": "dense3"}, attention_weight=weight, weight=0.0)
        teacher = teacher_of(learned, learned, run, nn.Identity())
        model = teacher.fit(densenet(), learned, "distill")
        images = run.task.normalise(run.task.validation.images)
        seen.clear()
        for network in (model, teacher.network):
            network.get_submodule("dense3").register_forward_hook(lambda *given: seen.append(given[2]))
            with torch.no_grad():
                network(images)
        distances.append(float(attention_loss(*seen)))
    assert distances[1] < 0.5 * distances[0]


def test_features_are_learned_behind_a_projection_that_is_trained(tmp_path):
    run = a_run(2, checkpoints=Checkpoints(tmp_path))
    plain, learned = stage(weight=0.0), stage(weight=0.0, features=PAIRS)
    assert not same(distill(densenet(), learned, run), distill(densenet(), plain, a_run(2)))
    (file,) = tmp_path.glob("*distill.pt")
    trained = torch.load(file, weights_only=True)["beside"]
    torch.manual_seed(run.seed)
    first = [nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False) for weight in trained.values()]
    for own, weight in zip(first, trained.values(), strict=True):
        assert own.weight.shape == weight.shape
        assert not torch.equal(own.weight, weight)


def every(**options):
    return stage(
        features=PAIRS, attention={"dense2": "dense1"}, ema=0.9, label_smoothing=0.1, lr=0.01, **options
    )


@pytest.mark.parametrize("taught", [every(mixup=0.3), stage(views=2, rotation=10)], ids=["layers", "views"])
def test_a_taught_training_is_replayed_and_resumed(taught, monkeypatch, tmp_path):
    def killed(name, epoch, *_):
        if name == "distill" and epoch == 2:
            raise KeyboardInterrupt

    plain = distill(densenet(), taught, a_run())
    with pytest.raises(KeyboardInterrupt):
        distill(densenet(), taught, a_run(report=killed, checkpoints=Checkpoints(tmp_path)))
    assert same(plain, distill(densenet(), taught, a_run(checkpoints=Checkpoints(tmp_path))))
    recorder = TapeRecorder()
    monkeypatch.setattr(training, "recorder", lambda device: recorder)
    assert same(plain, distill(densenet(), taught, a_run()))
    assert max(recorder.played) == 21


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"features": {"dens1": "dense1"}}, "no layer of the student named 'dens1'; did you mean dense1"),
        (
            {"attention": {"dense1": "dense11"}},
            "no layer of the teacher named 'dense11'; did you mean dense1",
        ),
        ({"attention": {"classifier": "classifier"}}, "attention: the outputs of classifier and classifier"),
        ({"features": {"dense1": "classifier"}}, "features: the outputs of dense1 and classifier"),
        ({"views": 2, "mixup": 0.2}, "views are of images, and mixup and cutmix make others"),
    ],
)
def test_a_teacher_that_does_not_fit_is_one_error_before_anything_trains(wrong, said):
    seen = []
    recipe = Recipe(model=SMALL, stages=(Train(), stage(**wrong)))
    with pytest.raises(TrialError, match=f"{BEFORE}.*{said}"):
        rehearse_once(recipe, a_run(report=lambda *point: seen.append(point)))
    assert not seen


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"views": 2, "features": PAIRS}, "views: the teacher's outputs are kept"),
        ({"teacher_stages": (Train(),)}, "a teacher is made by one of them"),
    ],
)
def test_what_excludes_itself_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        stage(**wrong)
    with pytest.raises(ValidationError, match="teacher: missing"):
        Teaching(teacher_training=Train())


def test_views_are_fixed_and_each_is_seen_once(monkeypatch):
    run, taught, seen = a_run(3), stage(views=3), []
    teacher = teacher_of(taught, taught, run, nn.Identity())
    teacher.network.register_forward_hook(lambda *given: seen.append(len(given[1][0])))
    batches, real = [], run.task.__class__.divergence

    def divergence(self, outputs, said, temperature):
        batches.append(said)
        return real(self, outputs, said, temperature)

    monkeypatch.setattr(type(run.task), "divergence", divergence)
    teacher.fit(densenet(), taught, "distill")
    assert seen == [230, 230, 230]
    (views,) = teacher._shown.values()
    assert sum(map(len, batches)) == 3 * 230
    rows = {tuple(row.tolist()) for row in views.said[0].flatten(0, 1)}
    assert all(tuple(row.tolist()) in rows for said in batches for row in said)
    # What is kept is what the teacher says to the image of that view.
    from searcher.compression.augmentation import Augmentation

    none, train = Augmentation(0.0, 0.0, 0.0), run.task.train
    assert torch.equal(views.draws, drawn(run.task, none, 3, run.seed))
    images, _ = none.normalised(run.task, train.images, train.labels, views.draws[1])
    with torch.no_grad(), training.autocast(CPU):
        assert torch.equal(teacher.network(images).float(), views.said[0][1])


def taught_twice(folder: Path, taught: Distill, **kept: Any) -> list[tuple[nn.Module, int]]:
    """The student of each of two runs that keep what they make, and how often its teacher was asked.

    The second is trained again, by what is kept of the teacher.
    """
    found = []
    for _ in range(2):
        for student in folder.glob("*-distill.pt"):
            student.unlink()
        seen: list[int] = []
        teacher = teacher_of(
            taught, taught, a_run(2, **{name: make() for name, make in kept.items()}), nn.Identity()
        )
        teacher.network.register_forward_hook(lambda *given, seen=seen: seen.append(1))
        found.append((teacher.fit(densenet(), taught, "distill"), len(seen)))
    return found


def test_the_outputs_of_views_are_in_the_store(tmp_path):
    (first, asked), (second, again) = taught_twice(tmp_path, stage(views=2), store=lambda: Store(tmp_path))
    assert (asked, again) == (2, 0)
    assert same(first, second)
    assert any(e.about["words"] == "a teacher's outputs of 2 views" for e in Store(tmp_path).entries())


def test_without_a_store_the_outputs_of_views_are_among_the_checkpoints(tmp_path):
    (first, asked), (second, again) = taught_twice(
        tmp_path, stage(views=2), checkpoints=lambda: Checkpoints(tmp_path)
    )
    assert (asked, again) == (2, 0)
    assert same(first, second)
    assert len(list(tmp_path.glob("views-*.pt"))) == 1


def test_a_teacher_with_weights_is_not_trained(tmp_path):
    weights = tmp_path / "teacher.pt"
    torch.save(densenet(LARGER).state_dict(), weights)
    given, seen = LARGER.model_copy(update={"weights": str(weights)}), []
    run = a_run(1, report=lambda name, *_: seen.append(name))
    taught = Distill(teacher=given)
    assert same(teacher_of(taught, taught, run, nn.Identity()).network, densenet(LARGER))
    distill(densenet(), taught, run)
    assert seen == ["distill"]


def test_a_teacher_whose_last_layer_is_new_is_to_be_trained(tmp_path):
    weights = tmp_path / "teacher.pt"
    torch.save(build("densenet", LARGER.args, in_channels=1, classes=7).state_dict(), weights)
    given = LARGER.model_copy(update={"weights": str(weights)})
    with pytest.raises(TrialError, match=r"teacher .*give it a teacher_training"):
        distill(densenet(), Distill(teacher=given), a_run(1))


def test_a_teacher_of_a_recipe_is_what_the_recipe_makes_before_int8(tmp_path):
    recipe = Recipe(model=LARGER, stages=(Train(lr=0.05), PruneChannels(ratio=0.5, share=0.5), Quantize()))
    recipe.save(tmp_path / "recipe.toml")
    taught = Distill(teacher=str(tmp_path / "recipe.toml"))
    assert (taught.teacher, taught.teacher_stages) == (LARGER, recipe.stages)
    assert "channels -50%" in taught.words()
    assert "int8" not in taught.words()
    assert Distill.model_validate_json(taught.model_dump_json()) == taught
    run = a_run(1)
    made = run_recipe(Recipe(model=LARGER, stages=recipe.stages[:2]), run).architecture
    assert same(teacher_of(taught, taught, run, nn.Identity()).network, made)
    (tmp_path / "other.toml").write_text("a = 1")
    with pytest.raises(SearcherError, match=r"other.toml: is no recipe"):
        Distill(teacher=tmp_path / "other.toml")


def test_a_chain_of_teachers_is_trained_from_its_end():
    seen: list[str] = []
    chain = stage(teacher_training=None, teacher_stages=(stage(teacher=SMALL),))
    recipe = Recipe(model=SMALL, stages=(chain,))
    assert recipe.words().count("distilled from") == 2
    assert [model.args["growth_rate"] for model in chain.models()] == [4, 2]
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    run_recipe(recipe, a_run(1, report=lambda name, *_: seen.append(name)))
    assert seen == ["teacher", "teacher", "distill"]
