"""Models of timm and torchvision: timm's own where it is installed, else stand-ins of the same interfaces."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from searcher import models
from searcher.config.recipe import Model
from searcher.errors import SearcherError

TIMM = """
from torch import nn

__version__ = "1.0"


def list_models():
    return ["resnet18"]


def create_model(model_name, pretrained=False, num_classes=1000, in_chans=3, drop_rate=0.0):
    net = nn.Sequential(
        nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    )
    if pretrained == "broken":
        raise RuntimeError("a bug")
    if pretrained:
        raise OSError("no route to host")
    return net
"""
TORCHVISION = """
import torch
from types import SimpleNamespace
from torch import nn


def list_models():
    return ["resnet18"]


def get_model(name, weights=None, num_classes=1000):
    assert weights is None
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))


def get_model_weights(name):
    def get_state_dict(progress):
        return {k: torch.ones_like(v) for k, v in get_model(name).state_dict().items()}

    return SimpleNamespace(DEFAULT=SimpleNamespace(get_state_dict=get_state_dict))
"""


STAND_INS = ("timm", "torchvision", "torchvision.models")


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "timm.py").write_text(TIMM)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text('__version__ = "0.1"\n')
    (tmp_path / "torchvision" / "models.py").write_text(TORCHVISION)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in STAND_INS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield tmp_path
    # torch-pruning imports timm where it is found, also in a test that comes later.
    for name in STAND_INS:
        sys.modules.pop(name, None)


def build(name: str, **args):
    return models.build(name, args, in_channels=3, classes=7)


@pytest.mark.usefixtures("libraries")
def test_a_librarys_model_is_made_for_the_task():
    assert models.build("timm:resnet18", {}, in_channels=1, classes=7)[0].in_channels == 1
    for name in ("timm:resnet18", "torchvision:resnet18"):
        assert build(name)[3].out_features == 7
    assert models.code("timm:resnet18") == "timm 1.0 resnet18"
    assert models.code("torchvision:resnet18") == "torchvision 0.1 resnet18"


@pytest.mark.usefixtures("libraries")
def test_weights_come_from_the_library_where_the_arguments_say_so():
    network = build("torchvision:resnet18", pretrained=True)
    assert bool((network[0].weight == 1).all())
    assert not bool((network[3].bias == 1).all())
    with pytest.raises(SearcherError, match=r"its pretrained weights cannot be fetched .no route to host"):
        build("timm:resnet18", pretrained=True)


@pytest.mark.usefixtures("libraries")
def test_no_weights_are_fetched_for_shapes_alone():
    with torch.device("meta"):
        assert build("timm:resnet18", pretrained=True)[3].weight.is_meta
    model = Model(name="timm:resnet18", args={"pretrained": True, "drop_rate": 0.1}, weights="a.pt")
    assert model.pretrained
    assert model.without_weights() == Model(name="timm:resnet18", args={"drop_rate": 0.1})


@pytest.mark.usefixtures("libraries")
def test_an_unknown_model_names_the_nearest():
    with pytest.raises(SearcherError, match=r"no model of timm named 'resnet81'; did you mean resnet18"):
        build("timm:resnet81")
    with pytest.raises(SearcherError, match=r"cannot be built.*drop"):
        build("timm:resnet18", drop=1)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_library_that_is_absent_is_named(library: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SearcherError, match=f"{library} is not installed: pip install {library}"):
        build(f"{library}:resnet18")


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_a_model_of_timm_itself():
    network = models.build("timm:resnet18", {}, in_channels=1, classes=7)
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 7)
