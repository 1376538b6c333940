"""Weights of all but the head: loaded where the classes alone differ, said by name; else refused."""

from pathlib import Path

import pytest
import torch
from torch import nn

from searcher.compression import build
from searcher.compression.engines.new_head import output_layers
from searcher.config.recipe import Model
from searcher.errors import SearcherError
from searcher.models import build as make


def net(classes: int = 10, width: int = 8):
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, classes),
    )  # fmt: skip


class TwoHeads(nn.Module):
    def __init__(self, classes: int = 10):
        super().__init__()
        self.body = nn.Linear(64, 8)
        self.head, self.aux = nn.Linear(8, classes), nn.Linear(8, classes)

    def forward(self, x):
        x = self.body(x.flatten(1)).relu()
        return self.head(x), self.aux(x)


def model(path: Path) -> Model:
    return Model(name="tests.engines.test_new_head:net", weights=str(path))


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s}])
def test_all_but_the_head_is_loaded_and_said(tmp_path, wrap):
    path, given = tmp_path / "net.pt", net(1000)
    torch.save(wrap(given.state_dict()), path)
    (line,) = build.check_weights([model(path)], (1, 8, 8), 10)
    assert line == "weights of 4 are new: 1,000 classes in the file, 10 here"
    network = net()
    before = network[4].weight.clone()
    assert build._initialise(network, str(path), (1, 8, 8)) == [line]
    assert torch.equal(network[0].weight, given[0].weight)
    assert torch.equal(network[4].weight, before)


def test_weights_of_all_layers_say_nothing(tmp_path):
    torch.save(net().state_dict(), tmp_path / "net.pt")
    assert build.check_weights([model(tmp_path / "net.pt")], (1, 8, 8), 10) == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (net(10, 4).state_dict(), "0.weight: size mismatch: 4×1×3×3, expected 8×1×3×3"),
        (net(1000, 4).state_dict(), "0.weight: size mismatch"),
        (net(10).state_dict() | {"4.weight": torch.rand(12, 8)}, "4.weight: size mismatch: 12×8"),
        ({k: v for k, v in net(12).state_dict().items() if k != "4.bias"}, "4.weight: size mismatch"),
    ],
)
def test_anything_else_is_refused_as_before(tmp_path, state, said):
    torch.save(state, tmp_path / "net.pt")
    with pytest.raises(SearcherError, match=said):
        build.check_weights([model(tmp_path / "net.pt")], (1, 8, 8), 10)


def test_the_layers_that_make_the_outputs():
    assert output_layers(net(), (1, 1, 8, 8)) == ["4"]
    assert output_layers(TwoHeads(), (1, 1, 8, 8)) == ["head", "aux"]
    resnet = make("resnet20", {}, in_channels=3, classes=10).train()
    (last,) = output_layers(resnet, (1, 3, 32, 32))
    assert isinstance(resnet.get_submodule(last), nn.Linear)
    assert all(module.training for module in resnet.modules())
    yolo = make("yolo", {"size": "n", "width": 0.125}, in_channels=1, classes=3)
    assert len(output_layers(yolo, (1, 1, 64, 64))) >= 2
