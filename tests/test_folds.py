"""Which batch norms the layer before them could hold."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searcher.costs.counting.recorder import record
from searcher.costs.op import UNUSED
from searcher.costs.scores import score
from searcher.costs.shapes.outline import outline


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


class Bare(nn.Module):
    """Convolutions without biases, each before a batch norm, as often as a test calls them."""

    def __init__(self, joined, **norm):
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False)
        self.m, self.n = nn.BatchNorm2d(8, **norm), nn.BatchNorm2d(8, **norm)
        self.joined = joined

    def forward(self, x):
        return self.joined(self, x)


@pytest.mark.parametrize(
    ("joined", "layers", "calls"),
    [
        (lambda net, x: net.m(net.a(x)), 1, 1),
        (lambda net, x: net.m(net.a(net.m(net.a(x)))), 1, 2),
        (lambda net, x: net.m(net.a(net.m(net.a(net.m(net.a(x)))))), 1, 3),
        (lambda net, x: net.n(net.b(net.m(net.a(x)))), 2, 2),
        # One batch norm leaves a bias in each layer that holds it.
        (lambda net, x: net.m(net.b(net.m(net.a(x)))), 2, 2),
    ],
)
@pytest.mark.parametrize("affine", [True, False])
def test_a_fold_leaves_a_bias_a_layer_and_an_addition_a_call(joined, layers, calls, affine):
    net = Bare(joined, affine=affine)
    ops = record(net, torch.rand(1, 8, 4, 4))
    unused = sum(op.params for op in ops if op.kind == UNUSED)
    counted = score(ops, "micronet-2019", freebie_bits=32)
    assert counted.params == layers * (64 + 8) + unused
    assert counted.ops == calls * 128 * (8 + 7 + 1)
    assert score(outline(net.to("meta"), (1, 8, 4, 4)).ops, "micronet-2019", freebie_bits=32) == counted


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Conv2d(8, 8, 1), nn.Flatten(), nn.BatchNorm1d(128)),
        (nn.Conv2d(8, 8, 1), nn.PixelShuffle(2), nn.BatchNorm2d(2)),
        (nn.Conv2d(8, 8, 1), nn.Flatten(2), nn.Linear(16, 4), nn.BatchNorm1d(8)),
    ],
)
def test_a_batch_norm_of_other_channels_than_the_layers_does_not_fold(layers):
    *_, norm = record(nn.Sequential(*layers), torch.rand(1, 8, 4, 4))
    assert (norm.kind, norm.folds_into) == ("batch_norm", None)


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
