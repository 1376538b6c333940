"""Trainings whose steps are recorded once and replayed, on the CPU by a stand-in of CUDA's graphs."""

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression import training
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.cuda_graphs import Graphed, GraphedModule
from searcher.compression.stages.distill import distill
from searcher.compression.stages.prune_weights import prune_weights
from searcher.compression.training import Run, fit
from searcher.config.recipe import Distill, Model, PruneWeights, Train
from searcher.models import build
from tests.helpers.tape import TapeRecorder

CPU = torch.device("cpu")
TINY = {"growth_rate": 2, "blocks": [1, 1, 1, 1]}


def digits(images=230):
    task = tasks.entry("digits").load()
    return replace(task, train=task.train.first(images), validation=task.validation.first(120), flip=True)


def a_run(task, epochs=6, report=lambda *_: None, **others):
    return Run(task, epochs, 0, CPU, report, **others)


def densenet(**args):
    torch.manual_seed(0)
    return build("densenet", TINY | args, in_channels=1, classes=10)


def train(model, run, batch_size=50, **others):
    return fit(model, run, Train(batch_size=batch_size, lr=0.05, mixup=0.3, **others), "train")


@pytest.fixture
def recorded(monkeypatch):
    """The recorder of all trainings from now on."""
    recorder = TapeRecorder()
    monkeypatch.setattr(training, "recorder", lambda device: recorder)
    return recorder


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_replayed_training_is_the_training(optimizer, request):
    plain = train(densenet(), a_run(digits()), optimizer=optimizer)
    recorder = request.getfixturevalue("recorded")
    replayed = train(densenet(), a_run(digits()), optimizer=optimizer)
    assert same(plain, replayed)
    # Of 24 full steps and 6 of 30 images, after 3 warm-ups and one that is recorded and compared; the
    # validation's one batch an epoch likewise.
    assert sorted(recorder.played) == [3, 3, 21]


def test_a_distilled_training_is_replayed_with_its_teacher(request):
    stage = Distill(teacher=Model(name="densenet", args=TINY), batch_size=50)
    plain = distill(densenet(), stage, a_run(digits(100)))
    recorder = request.getfixturevalue("recorded")
    assert same(plain, distill(densenet(), stage, a_run(digits(100))))
    assert len(recorder.tapes) == 4


@pytest.mark.parametrize("criterion", ["magnitude", "movement"])
def test_zeros_stay_zero_in_a_replayed_training(criterion, request):
    stage = PruneWeights(sparsity=0.5, steps=2, share=1.0, batch_size=50, criterion=criterion)
    plain = prune_weights(densenet(), stage, a_run(digits(100), 18))
    recorder = request.getfixturevalue("recorded")
    replayed = prune_weights(densenet(), stage, a_run(digits(100), 18))
    assert same(plain, replayed)
    # Of the training and of the validation, for each step, and for that before the first.
    assert len(recorder.tapes) == (6 if criterion == "movement" else 4)
    assert all(recorder.played)


@pytest.mark.parametrize("name", ["ssd_mobilenet_v1", "yolo"])
def test_a_detector_is_replayed(name, request):
    task = tasks.entry("digit-scenes").load()
    task = replace(task, train=task.train.first(12), validation=task.validation.first(4))

    def trained():
        torch.manual_seed(0)
        model = build(name, {"width": 0.25}, in_channels=1, classes=10)
        return fit(model, a_run(task, 3), Train(batch_size=4, lr=0.01), "train")

    plain = trained()
    recorder = request.getfixturevalue("recorded")
    assert same(plain, trained())
    assert recorder.played[0] == 6


def drops(net, y):
    return nn.functional.dropout(y, 0.1)


@pytest.mark.parametrize("make", [lambda: densenet(), lambda: Odd(drops)], ids=["densenet", "dropout"])
def test_a_training_that_was_killed_goes_on_as_if_it_were_not(make, tmp_path, recorded):
    torch.manual_seed(1)
    whole = train(make(), a_run(digits()))
    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        train(make(), a_run(digits(), checkpoints=Checkpoints(tmp_path), report=killed_after_two_epochs))
    model = make()
    assert same(whole, train(model, a_run(digits(), checkpoints=Checkpoints(tmp_path))))


def killed_after_two_epochs(stage, epoch, *_):
    if epoch == 2:
        raise KeyboardInterrupt


class Odd(nn.Module):
    """A network that does something odd in each forward pass of its training."""

    def __init__(self, odd):
        super().__init__()
        self.linear, self.odd, self.calls, self.seen = nn.Linear(64, 10), odd, 0, []

    def forward(self, x):
        y = self.linear(x.flatten(1))
        return self.odd(self, y) if self.training else y


def looks(net, y):
    return y * 2 if float(y.detach().sum()) > 0 else y


def tosses(net, y):
    return y * 2 if random.random() < 0.5 else y


def counts(net, y):
    net.calls += 1
    return y * net.calls


def collects(net, y):
    net.seen.append(1)
    return y * len(net.seen)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (looks, "_local_scalar_dense waits for the GPU"),
        (tosses, "it draws random numbers on the CPU"),
        (drops, "it draws random numbers on the CPU"),
        (counts, "a call changes Odd.calls"),
        (collects, "a replay differs from the call by"),
    ],
)
def test_what_a_graph_cannot_hold_trains_as_it_is_and_the_log_says_why(odd, reason, recorded, capsys):
    curve = []
    run = a_run(digits(), report=lambda *point: curve.append(point[3]))
    fit(Odd(odd), run, Train(batch_size=50, lr=0.01), "train")
    said = capsys.readouterr().out
    assert f"train: not one CUDA graph, its kernels are launched one by one: {reason}" in said
    assert said.count("not one CUDA graph") == 1
    assert len(curve) == 6


def test_outputs_are_the_callers():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    graphed = GraphedModule(module, "test", TapeRecorder())
    images = [torch.randn(3, 1, 2, 2) for _ in range(9)]
    outputs = [graphed(x) for x in images]
    assert all(torch.equal(graphed_, module(x)) for graphed_, x in zip(outputs, images, strict=True))


def test_each_size_has_a_graph_of_its_own():
    recorder = TapeRecorder()
    graphed = Graphed(lambda x: (x * 2, {"sum": x.sum()}), "test", recorder)
    for _ in range(6):
        for size in (2, 5):
            double, other = graphed(torch.arange(size))
            assert torch.equal(double, 2 * torch.arange(size))
            assert int(other["sum"]) == sum(range(size))
    assert recorder.played == [3, 3]
