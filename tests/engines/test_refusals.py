"""What a library raises, as a reason that names the module."""

import pytest
import torch
from torch import nn

from searcher.compression.engines.refusals import refused
from searcher.errors import SearcherError, TrialError


class Broken(nn.Module):
    def forward(self, x):
        raise ValueError("no\nsecond line")


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), Broken()))


def test_the_module_that_was_running_is_named():
    with (
        pytest.raises(TrialError, match=r"^X cannot prune this network: ValueError: no, in 1\.1 \(Broken\)$"),
        refused("X", "prune"),
    ):
        net()(torch.ones(1, 3, 2, 2))


def test_where_no_module_runs_none_is_named():
    with (
        pytest.raises(TrialError, match=r"^X cannot prune this network: KeyError: 3$"),
        refused("X", "prune"),
    ):
        {}[3]


def test_a_module_of_torch_is_named_too():
    expected = r"^X cannot prune this network: RuntimeError: Given groups=1.*, in 0 \(Conv2d\)$"
    with pytest.raises(TrialError, match=expected), refused("X", "prune"):
        net()(torch.ones(1, 2, 2, 2))


@pytest.mark.parametrize("known", [SearcherError, TrialError])
def test_our_own_errors_stay_as_they_are(known):
    with pytest.raises(known, match=r"^told$"), refused("X", "prune"):
        raise known("told")
