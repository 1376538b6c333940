"""What a function is told of the task that its model is built for."""

import pytest
from torch import nn

from searcher import models
from searcher.errors import SearcherError

NETS = """
from torch import nn


def timm_like(num_classes=1000, in_chans=3):
    return nn.Conv2d(in_chans, num_classes, 1)


def lightning_like(n_classes=1000):
    return nn.Conv2d(3, n_classes, 1)


def own(in_channels=3, classes=1000):
    return nn.Conv2d(in_channels, classes, 1)


def both(classes=1000, num_classes=7):
    return nn.Conv2d(num_classes, classes, 1)


def fixed():
    return nn.Conv2d(3, 1000, 1)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    (tmp_path / "families.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "args", "read", "made"),
    [
        ("timm_like", {}, 1, 10),
        ("timm_like", {"num_classes": 20}, 1, 20),
        ("timm_like", {"in_chans": 4}, 4, 10),
        ("lightning_like", {}, 3, 10),
        ("own", {}, 1, 10),
        ("both", {}, 7, 10),
        ("fixed", {}, 3, 1000),
    ],
)
def test_a_function_is_told_by_its_own_names(name, args, read, made):
    model = models.build(f"families:{name}", args, in_channels=1, classes=10)
    assert isinstance(model, nn.Conv2d)
    assert (model.in_channels, model.out_channels) == (read, made)


@pytest.mark.usefixtures("nets")
def test_what_the_task_says_is_no_argument():
    with pytest.raises(SearcherError, match=r"families:own.*cannot be built.*classes"):
        models.build("families:own", {"classes": 20}, in_channels=1, classes=10)


@pytest.mark.usefixtures("nets")
def test_only_other_names_than_the_usual_are_told_apart():
    assert models.renamed("families:timm_like") == ["in_chans", "num_classes"]
    assert [models.renamed(name) for name in ("families:own", "families:fixed", "resnet20")] == [[], [], []]
