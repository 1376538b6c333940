"""The functions of torch whose rows are known from sizes alone: they are those that are counted."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searcher.costs.counting.recorder import record
from searcher.costs.shapes.outline import Walker, outline

IMAGE = torch.rand(1, 3, 8, 8)


class Called(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.conv, self.call = nn.Conv2d(3, 4, 3), call

    def forward(self, x):
        return self.call(self.conv(x))


def ran(*args, **kwargs):
    raise AssertionError("it was run on the meta device")


@pytest.mark.parametrize(
    "call",
    [
        nn.ReLU(),
        nn.ReLU6(),
        nn.ReLU6(inplace=True),
        nn.Hardtanh(),
        nn.Hardtanh(-2.0, 3.0, inplace=True),
        F.relu6,
        lambda x: F.relu6(x, inplace=True),
        lambda x: F.hardtanh(x, -1.5, max_val=0.5),
    ],
)
def test_an_activation_is_counted_without_being_run(call, monkeypatch):
    counted = record(Called(call), IMAGE)
    monkeypatch.setattr(Walker, "_on_meta", ran)
    found = outline(Called(call).to("meta"), tuple(IMAGE.shape))
    assert not found.channels.lost
    assert [(op.name, op.kind, op.arithmetic, op.inputs, op.producers) for op in found.ops] == [
        (op.name, op.kind, op.arithmetic, op.inputs, op.producers) for op in counted
    ]


def test_bounds_that_torch_refuses_are_refused_by_torch():
    with pytest.raises(ValueError, match="min_val"):
        outline(Called(lambda x: F.hardtanh(x, 2.0, 1.0)).to("meta"), tuple(IMAGE.shape))
