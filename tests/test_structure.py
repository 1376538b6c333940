"""What the store holds of a network that a stage has changed."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression import cached, structure
from searcher.compression.stages.prune_weights import prune_weights
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.recipe import Model, PruneWeights, Recipe, Train

CPU = torch.device("cpu")
RECIPE = Recipe(model=Model(name="tests.test_structure:family"), stages=(Train(),))
IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1, bias=False)
        self.c = nn.Conv2d(4, 4, 1, bias=False)
        self.norm, self.pool = nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(4, 10)

    def forward(self, x):
        x = self.c(self.b(self.norm(self.a(x)).relu()))
        return self.classifier(self.pool(x).flatten(1))


class Tied(Net):
    def __init__(self):
        super().__init__()
        self.c.weight = self.b.weight


def family():
    return Net()


def tied():
    return Tied()


class Own(nn.Identity):
    pass


def two_layers(net):
    net.classifier = nn.Sequential(nn.Dropout(0.25), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 10, bias=False))


def another_convolution(net):
    net.a = nn.Conv2d(1, 6, (3, 1), padding="same", padding_mode="circular", bias=False)
    net.norm = nn.Sequential(nn.BatchNorm2d(6, affine=False), nn.Conv2d(6, 4, 1, groups=2))


def no_batch_norm(net):
    net.norm = nn.Identity()


def smaller(net):
    net.b, net.c = nn.Conv2d(4, 2, 1, bias=False), nn.Conv2d(2, 4, 1, bias=False)


def a_bias_more(net):
    net.b.bias = nn.Parameter(torch.rand(4))


def a_bias_less(net):
    net.a.bias = None


def shared(net):
    net.c.weight = net.b.weight


def nothing(net):
    pass


CHANGES = [two_layers, another_convolution, no_batch_norm, smaller, a_bias_more, a_bias_less, shared, nothing]


def a_run(folder: Path) -> Run:
    return Run(tasks.entry("digits").load().trained_on(64), 1, 0, CPU, lambda *_: None, store=Store(folder))


def both(change, folder, recipe=RECIPE, build=family):
    """A network as it was made, and as the store has it."""

    def make(run):
        torch.manual_seed(1)
        net = build()
        change(net)
        return net.eval()

    def never(run):
        raise AssertionError("the store has it")

    return cached.kept(recipe, a_run(folder), make), cached.kept(recipe, a_run(folder), never)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_network_that_a_stage_has_changed_is_held(change, tmp_path):
    made, found = both(change, tmp_path)
    assert torch.equal(made(IMAGES), found(IMAGES))
    assert repr(made) == repr(found)
    assert [n for n, _ in made.named_parameters()] == [n for n, _ in found.named_parameters()]


def untie(net):
    net.c.weight = nn.Parameter(torch.rand(4, 4, 1, 1))


@pytest.mark.parametrize("change", [nothing, untie, smaller], ids=lambda change: change.__name__)
def test_what_is_shared_stays_shared_and_what_is_not_apart(change, tmp_path):
    recipe = RECIPE.model_copy(update={"model": Model(name="tests.test_structure:tied")})
    made, found = both(change, tmp_path, recipe, tied)
    assert torch.equal(made(IMAGES), found(IMAGES))
    assert (found.b.weight is found.c.weight) == (made.b.weight is made.c.weight) == (change is nothing)


def test_what_is_shared_and_smaller_stays_shared(tmp_path):
    def change(net):
        net.a, net.norm, net.classifier = nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 10)
        net.b, net.c = nn.Conv2d(3, 3, 1, bias=False), nn.Conv2d(3, 3, 1, bias=False)
        net.c.weight = net.b.weight

    recipe = RECIPE.model_copy(update={"model": Model(name="tests.test_structure:tied")})
    made, found = both(change, tmp_path, recipe, tied)
    assert torch.equal(made(IMAGES), found(IMAGES))
    assert found.b.weight is found.c.weight


def test_a_frozen_parameter_stays_frozen(tmp_path):
    def build():
        net = Net()
        net.a.weight.requires_grad_(False)
        return net

    net = build()
    structure.apply(net, structure.told(net, build().to("meta")), net.state_dict())
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["a.weight"]


@pytest.mark.parametrize("apart", [True, False])
def test_an_entry_of_an_earlier_version_has_attributes_alone(apart):
    made, found = Tied(), Tied()
    if apart:
        untie(made)
    structure.apply(found, {"attributes": {"a": {"out_channels": 4}}}, made.state_dict())
    found.load_state_dict(made.state_dict())
    assert torch.equal(made.eval()(IMAGES), found.eval()(IMAGES))
    assert (found.b.weight is found.c.weight) != apart


def with_a_module_of_its_own(net):
    net.norm = Own()


def with_a_function(net):
    net.norm = nn.TransformerEncoderLayer(4, 2, activation=torch.tanh)


@pytest.mark.parametrize("change", [with_a_module_of_its_own, with_a_function], ids=lambda c: c.__name__)
def test_what_is_not_plain_is_made_each_time(change, tmp_path, capsys):
    with pytest.raises(AssertionError, match="the store has it"):
        both(change, tmp_path)
    assert "is not kept: norm" in capsys.readouterr().out


def test_nothing_but_modules_of_torch_is_made():
    net = Net()
    net.norm = nn.Identity()
    told = json.loads(json.dumps(structure.told(net, Net())))
    told["modules"]["norm"]["class"] = "subprocess:Popen"
    with pytest.raises(ValueError, match="no module of torch"):
        structure.apply(Net(), told, net.state_dict())


@pytest.mark.parametrize("scope", ["local", "global"])
def test_the_weights_of_a_shared_parameter_are_pruned(scope, tmp_path):
    torch.manual_seed(0)
    stage = PruneWeights(sparsity=0.5, scope=scope, share=1.0, batch_size=32)
    net = prune_weights(Tied(), stage, a_run(tmp_path))
    assert net.b.weight is net.c.weight
    assert (net.b.weight == 0).sum() == pytest.approx(8, abs=3)
