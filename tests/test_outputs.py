"""Models whose outputs are none of their task's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.build import check_outputs, start
from searcher.config.recipe import Model
from searcher.errors import SearcherError
from searcher.searching.check import check_parts
from tests.conftest import TINY_SPACE
from tests.helpers.studies import refusal, study, write

NETS = """
from torch import nn

def net(outputs, sizes=(8, 8)):
    return nn.Sequential(nn.Flatten(), nn.Linear(sizes[0] * sizes[1], outputs))

def maps():
    return nn.Conv2d(1, 10, 1)
"""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            '"nets:net", args={"outputs": 3}',
            "digits: model nets:net returns 2×3 for 2 images, expected",
        ),
        (
            '"nets:net", args={"outputs": 1000}',
            "nets:net returns 2×1000 for 2 images, expected 2×10",
        ),
        ('"nets:maps", args={}', "nets:maps returns 2×10×8×8 for 2 images, expected 2×10"),
        ('"nets:net", args={"outputs": 10, "sizes": (4, 4)}', "nets:net does not run on images of 1×8×8: "),
    ],
)
def test_a_model_with_other_outputs_than_the_tasks_is_refused(here: Path, args: str, message: str):
    write(here / "nets.py", NETS)
    space = TINY_SPACE.replace('name="densenet", args=args', f"name={args}")
    (here / "spaces" / "tiny.py").write_text(space)
    assert message in refusal()


def test_a_trial_does_not_train_a_model_with_other_outputs(here: Path):
    write(here / "nets.py", NETS)
    task = tasks.entry("digits").load()
    with pytest.raises(SearcherError, match="returns 2×1000 for 2 images"):
        start(Model(name="nets:net", args={"outputs": 1000}), task)


class Noisy(nn.Module):
    """Draws in its forward, also where it is not trained, and counts its calls in a buffer of batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.BatchNorm1d(64), nn.Linear(64, 10)
        self.norm.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(x.flatten(1) + torch.rand(1)))  # type: ignore[no-any-return]


def test_looking_at_outputs_leaves_the_network_and_the_random_numbers_as_they_were():
    network = Noisy()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    entry = tasks.entry("digits")
    check_outputs("noisy", network, entry.kind, entry.image, entry.classes)
    assert torch.get_rng_state().equal(state)
    assert [module.training for module in network.modules()] == modes
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def returning(outputs: Callable[[], Any]) -> str:
    return tasks.entry("digit-scenes").kind.misfit(outputs(), 2, 3)


@pytest.mark.parametrize("channels", [8, 48])
def test_a_detectors_maps_fit(channels: int):
    assert returning(lambda: (torch.zeros(2, channels, 4, 4), torch.zeros(2, channels, 2, 2))) == ""


@pytest.mark.parametrize(
    "outputs",
    [
        lambda: torch.zeros(2, 8, 4, 4),
        lambda: (),
        lambda: (torch.zeros(2, 8, 4, 4), torch.zeros(2, 48, 2, 2)),
        lambda: (torch.zeros(2, 9, 4, 4),),
        lambda: (torch.zeros(2, 8, 4),),
        lambda: (torch.zeros(1, 8, 4, 4),),
        lambda: ("text",),
        lambda: None,
    ],
)
def test_other_maps_do_not(outputs: Callable[[], Any]):
    assert "expected a tuple of maps of 8 channels (one box a cell) or 48 (6 boxes)" in returning(outputs)


def test_a_reference_is_built_for_the_tasks_own_images(here: Path):
    check_parts(study(constraints=(), reference={"name": "resnet18"}))
    one = "def one(in_channels):\n    assert in_channels == 1\n    return nn.Identity()\n"
    write(here / "nets.py", f"from torch import nn\n{one}")
    check_parts(study(constraints=(), reference={"name": "nets:one"}))
