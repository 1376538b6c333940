"""searcher from Python."""

import copy

import pytest
import torch
from torch import nn

import searcher
from searcher import tasks
from searcher.errors import SearcherError, TrialError
from searcher.recipe import Model, PruneChannels, Quantize, Recipe, Train


def net(outputs=10):
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, outputs)),
    )


STAGES = (Train(), PruneChannels(ratio=0.5, share=0.3, lr=0.05), Quantize())


def test_a_network_is_compressed_and_the_given_one_stays():
    model, seen = net(), []
    before = copy.deepcopy(model.state_dict())
    small = searcher.compress(
        model, STAGES, "digits", epochs=6, report=lambda stage, epoch, *_: seen.append((stage, epoch))
    )
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert small.architecture[3].out_channels == 8
    assert ("train", 6) in seen
    assert ("prune channels", 2) in seen
    task = tasks.entry("digits").load()
    assert task.top1(small.executed, task.validation) > 0.5
    again = searcher.compress(model, Recipe(model=Model(name="any"), stages=STAGES), task, epochs=6)
    images = task.normalise(task.test.images)
    assert torch.equal(small.executed(images), again.executed(images))


def test_a_network_of_other_outputs_is_refused():
    with pytest.raises(SearcherError, match="expected 2×10"):
        searcher.compress(net(outputs=3), STAGES, "digits")


def test_what_an_engine_cannot_do_is_told_before_anything_trains():
    seen = []
    with pytest.raises(TrialError, match="no layer whose channels could be removed"):
        searcher.compress(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
            STAGES,
            "digits",
            report=lambda *point: seen.append(point),
        )
    assert not seen


def test_only_what_is_there_is_there():
    with pytest.raises(AttributeError, match="no attribute 'compresss'"):
        searcher.compresss  # noqa: B018
