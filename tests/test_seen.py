"""Given weights that have seen the validation images, and those that have not."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.engines import weights
from searcher.config.recipe import Distill, Model, Quantize, Recipe
from searcher.deploy.retrain import Result, Retrained, too_familiar
from searcher.searching.check import check_parts, describe, doubts
from searcher.searching.seen import MIN_IMAGES, beyond_test, familiarity, warning
from searcher.tasks.classification.task import Classification, as_split
from searcher.ui.terminal.retrained import sections
from tests.conftest import TINY_SPACE
from tests.helpers.studies import study, write

IMAGES, SIDE = MIN_IMAGES, 33


@pytest.fixture(scope="module")
def task() -> Classification:
    """Noise with random labels, of which a linear layer learns 1,089 by heart and nothing of another."""
    random = np.random.default_rng(0)

    def split(count: int):
        pixels = random.integers(0, 256, (count, 1, SIDE, SIDE), dtype=np.uint8)
        return as_split(pixels, random.integers(0, 10, count))

    digits = tasks.entry("digits").load()
    return replace(
        digits,
        train=split(IMAGES),
        validation=split(IMAGES),
        test=split(50),
        mean=(0.5,),
        std=(0.3,),
        scale=255.0,
    )


def learned(task: Classification, *names: str) -> nn.Module:
    """A linear layer that gives the right class of every image of some splits a logit of 30, others 0."""
    splits = [getattr(task, name) for name in names]
    images = torch.cat([task.normalise(split.images).flatten(1) for split in splits]).double()
    wanted = 30 * nn.functional.one_hot(torch.cat([split.labels for split in splits]), 10).double()
    layer = nn.Linear(SIDE * SIDE, 10, bias=False)
    layer.weight.data = torch.linalg.lstsq(images, wanted, driver="gelsy").solution.T.float()
    return nn.Sequential(nn.Flatten(), layer)


@pytest.fixture(scope="module")
def both(task: Classification) -> nn.Module:
    return learned(task, "train", "validation")


@pytest.fixture(scope="module")
def honest(task: Classification) -> nn.Module:
    return learned(task, "train")


def test_a_network_that_was_trained_on_both_knows_both(task: Classification, both: nn.Module):
    found = familiarity(both, task)
    assert found is not None
    assert found.train == pytest.approx(1, abs=1e-3)
    assert found.validation == pytest.approx(1, abs=1e-3)
    assert found.seen


def test_an_honest_network_knows_what_it_was_trained_on(task: Classification, honest: nn.Module):
    found = familiarity(honest, task)
    assert found is not None
    assert found.train == pytest.approx(1, abs=1e-3)
    assert found.validation < 0.3
    assert not found.seen


def test_a_network_that_was_trained_on_neither_is_no_suspect(task: Classification):
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 10))
    found = familiarity(network, task)
    assert found is not None
    assert not found.seen


def test_of_few_images_or_of_boxes_nothing_is_said(task: Classification, both: nn.Module):
    boxes = tasks.entry("digit-scenes").load()
    few = replace(task, validation=task.validation.first(MIN_IMAGES - 1))
    assert familiarity(both, few) is None
    assert familiarity(nn.Identity(), boxes) is None


NET = f"""
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear({SIDE * SIDE}, 10, bias=False))
"""


def test_a_warning_names_the_file_and_comes_with_given_weights_alone(
    here: Path, task: Classification, both: nn.Module, honest: nn.Module
):
    write(here / "lines.py", NET)
    for name, network in {"both": both, "honest": honest}.items():
        (here / f"{name}.safetensors").write_bytes(weights.pack(network.state_dict()))
    told = warning(Model(name="lines:net", weights="both.safetensors"), task)
    assert told.startswith("both.safetensors: these weights know the validation images as well as")
    assert warning(Model(name="lines:net", weights="honest.safetensors"), task) == ""
    assert warning(Model(name="lines:net"), task) == ""


def test_check_and_the_head_of_a_run_say_it(
    here: Path, task: Classification, both: nn.Module, monkeypatch: pytest.MonkeyPatch
):
    write(here / "lines.py", NET)
    (here / "both.safetensors").write_bytes(weights.pack(both.state_dict()))
    given = 'name="lines:net", weights="both.safetensors"'
    write(here / "spaces" / "tiny.py", TINY_SPACE.replace('name="densenet", args=args', given))
    entry = replace(tasks.TASKS["digits"], load=lambda: task, image=task.image)
    monkeypatch.setitem(tasks.TASKS, "digits", entry)
    asked = study(constraints=())
    (line,) = doubts(asked)
    assert line.startswith("both.safetensors: these weights")
    assert f"warning: {line}" in describe(asked, check_parts(asked))


def sized(validation: int, test: int) -> Classification:
    """A task of so many images, all the same."""
    digits = tasks.entry("digits").load()
    return replace(
        digits,
        validation=digits.validation.only(torch.zeros(validation, dtype=torch.long)),
        test=digits.test.only(torch.zeros(test, dtype=torch.long)),
    )


def test_validation_far_above_test_is_no_chance():
    # Two shares, of 5,000 and of 10,000 images: error = sqrt(p(1 − p)(1/5,000 + 1/10,000)) of the whole's p.
    share = (5000 * 0.9996 + 10000 * 0.9263) / 15000
    expected = 0.0733 / math.sqrt(share * (1 - share) * 3e-4)
    found = beyond_test({"top1": 0.9996, "macs": 3.0}, {"top1": 0.9263}, sized(5000, 10000))
    assert found == {"top1": pytest.approx(expected)}
    assert 19 < expected < 20


@pytest.mark.parametrize(
    ("validation", "test"), [(0.92, 0.91), (0.9, 0.95), (1.0, 1.0), (0.0, 0.0), (1.0, 0.95)]
)
def test_what_chance_or_choice_explain_is_not_flagged(validation: float, test: float):
    assert beyond_test({"top1": validation}, {"top1": test}, sized(100, 100)) == {}


def test_a_teachers_weights_count_as_the_models_own() -> None:
    far = Retrained(0, {"top1": 0.9996}, {"top1": 0.9263}, {}, {})
    student, given = Model(name="densenet"), Model(name="densenet", weights="known.safetensors")
    recipes = {
        "own": Recipe(model=given, stages=(Quantize(),)),
        "teacher": Recipe(model=student, stages=(Distill(teacher=given),)),
        "none": Recipe(model=student, stages=(Distill(teacher=student),)),
    }
    flagged = [name for name, recipe in recipes.items() if too_familiar(recipe, far, sized(5000, 10000))]
    assert flagged == ["own", "teacher"]


def test_a_retraining_says_so_in_its_tables():
    seed = Retrained(0, {"top1": 0.9996}, {"top1": 0.9263}, {}, {})
    every = sections(Result("", 1, [seed], [], {"top1": 19.4}), {})
    ((_, lines),) = [rows for title, rows in every if "seen the validation images" in title]
    assert lines == [("top1", "0.9996", "0.9263", "19.4")]
    assert not any("seen the validation" in title for title, _ in sections(Result("", 1, [seed], []), {}))


@pytest.mark.slow
def test_a_public_checkpoint_of_all_training_images_is_told(real_data: Path):
    cifar10 = tasks.entry("cifar10").load()
    (path,) = (real_data / "resnet_cifar10").glob("resnet20-*.th")
    assert "know the validation images" in warning(Model(name="resnet20", weights=str(path)), cifar10)
