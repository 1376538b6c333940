"""Which batch norms the layer before them could hold."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searcher.costs.record import record
from searcher.costs.rules import score


class Convolutions(nn.Module):
    """Convolutions and batch norms, joined as a test says."""

    def __init__(self, joined):
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.m, self.n = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.joined = joined

    def forward(self, x):
        return self.joined(self, x)


def tied(net, x):
    y = net.m(net.a(x))
    return net.n(F.conv2d(y, net.a.weight))


def written(net, x):
    y = net.a(x)
    z = torch.zeros(1, 16, 4, 4)
    z[:, :8], z[:, 8:] = y, net.m(y)
    return z


@pytest.mark.parametrize(
    ("joined", "folded"),
    [
        (lambda net, x: net.n(net.b(net.m(net.a(x)))), ["a", "b"]),
        (lambda net, x: net.n(net.a(net.m(net.a(x)))), [None, None]),
        (lambda net, x: net.a(net.m(net.a(x))), [None]),
        (lambda net, x: net.m(net.a(net.m(net.a(x)))), ["a", "a"]),
        (lambda net, x: net.m(net.b(net.m(net.a(x)))), ["a", "b"]),
        (tied, [None, None]),
        (lambda net, x: (net.m(y := net.a(x)), y), [None]),
        (lambda net, x: {"a": net.m(y := net.a(x)), "b": y.flatten()}, [None]),
        (lambda net, x: net.m(y := net.a(x)) + y, [None]),
        (lambda net, x: net.m(torch.cat(net.a(x).chunk(2, 1))[:1].repeat(1, 2, 1, 1)), [None]),
        (lambda net, x: net.m(net.a(x)[:, :, :2]), [None]),
        (written, [None]),
    ],
)
def test_what_a_batch_norm_folds_into(joined, folded):
    ops = record(Convolutions(joined), torch.rand(1, 8, 4, 4))
    assert [op.folds_into for op in ops if op.kind == "batch_norm"] == folded


@pytest.mark.parametrize(
    "norm",
    [nn.InstanceNorm2d(8), nn.InstanceNorm2d(8, affine=True), nn.BatchNorm2d(8, track_running_stats=False)],
    ids=repr,
)
def test_statistics_of_the_input_do_not_fold(norm):
    _, op = record(nn.Sequential(nn.Conv2d(3, 8, 1), norm), torch.rand(1, 3, 4, 4))
    assert (op.kind, op.folds_into) == ("instance_norm", None)
    assert (op.arithmetic.multiplies, op.arithmetic.adds) == (3 * 128, 4 * 128)
    assert score([op], "imt-2022").ops == 3 * 128
