"""Which row has a parameter, with how many zeros, and what is forgotten."""

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from searcher.compression.engines.fx import quantize
from searcher.costs.counting.executed import walk
from searcher.costs.counting.provenance import Provenance
from searcher.costs.counting.recorder import Recorder, record
from searcher.costs.counting.scope import Scope

IMAGE = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))


def masked() -> nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        return nn.Sequential(prune.l1_unstructured(nn.Conv2d(8, 4, 3), "weight", 0.5), nn.ReLU()).eval()


def test_a_mask_makes_zeros_of_the_layer_and_is_a_row_itself():
    mask, conv, _ = record(masked(), IMAGE)
    assert (mask.kind, mask.arithmetic.multiplies, mask.params, mask.ahead) == ("mul", 288, 0, True)
    assert (conv.weights, conv.nonzero, conv.biases, conv.density) == (288, 144, 4, 0.5)
    assert conv.blocks is not None
    assert not conv.ahead


def test_what_a_conversion_computes_once_costs_nothing():
    model = masked()
    mask, conv, _ = walk(model, quantize(model, [IMAGE], {}), IMAGE)
    assert (mask.arithmetic.multiplies, mask.params) == (0, 0)
    assert (conv.weight_bits, conv.weights, conv.nonzero) == (8, 288, 144)


class Split(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 8, 1, 1))

    def forward(self, x):
        return F.conv2d(x, self.weight[:1]), F.conv2d(x, self.weight[1:])


def test_a_slice_brings_its_whole_parameter_with_the_zeros_of_that():
    model = Split()
    with torch.no_grad():
        model.weight[0] = 0
    first, second = record(model, IMAGE)
    assert (first.weights, first.nonzero, first.density) == (32, 24, 0.0)
    assert (second.weights, second.density, second.weight_bits) == (0, 1.0, 32)


def test_a_weight_is_not_computed_to_look_at_it():
    ops = record(nn.Sequential(parametrizations.weight_norm(nn.Conv2d(8, 4, 3))), IMAGE)
    assert [op.operation for op in ops] == ["aten::_weight_norm_interface", "aten::convolution"]
    assert [op.params for op in ops] == [0, 4 + 288 + 4]


def test_a_spectral_norm_has_its_weight_once():
    ops = record(nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(8, 4, 3))), IMAGE)
    assert [(op.kind, op.params) for op in ops if op.params] == [("conv", 292)]
    assert all(op.ahead for op in ops[:-1])


class Shuffled(nn.Module):
    """Channels of a weight in an order that the forward writes out."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4, 8, 1, 1))

    def forward(self, x):
        return F.conv2d(x, self.weight[[3, 1, 2, 0]] * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1))


def test_constants_make_no_activation_of_a_weight():
    signs, conv = record(Shuffled(), IMAGE)
    assert (signs.kind, signs.ahead, signs.params) == ("mul", True, 0)
    assert (conv.weights, conv.weight_bits) == (32, 32)


class Alone(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x.relu(), self.scale.exp()


def test_a_parameter_that_meets_no_activation_is_in_the_first_row_that_reads_it():
    _, scale = record(Alone(), IMAGE)
    assert (scale.kind, scale.biases, scale.inputs, scale.ahead) == ("exp", 1, ((),), True)


class Cache(nn.Module):
    """Writes activations into a buffer."""

    def __init__(self):
        super().__init__()
        self.kept = nn.Buffer(torch.zeros(1, 8, 6, 6))
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        self.kept[:, :4] = self.conv(x)[:, :4]
        return self.kept * 2


def test_a_buffer_that_is_written_holds_activations():
    conv, copy, mul = record(Cache(), IMAGE)
    assert (copy.kind, copy.producers) == ("copy", (0,))
    assert (mul.inputs, mul.ahead) == (((1, 8, 6, 6),), False)
    assert conv.params == 72


def test_a_constant_that_is_written_holds_activations():
    class Written(nn.Module):
        def forward(self, x):
            both = torch.tensor([0.0] * 8)
            both[:4] = x[0, :4, 0, 0]
            return both * 2

    copy, mul = record(Written(), IMAGE)
    assert (copy.kind, mul.producers, mul.ahead) == ("copy", (0,), False)


class Sees(nn.Module):
    def __init__(self):
        super().__init__()
        self.gone = False

    def forward(self, x):
        first = x.relu()
        watched = weakref.ref(first)
        second = first.flatten().abs()
        del first
        self.gone = watched() is None
        return second


def test_activations_are_not_kept():
    model = Sees()
    assert len(record(model, IMAGE)) == 2
    assert model.gone


def test_recorders_that_share_what_is_charged_charge_once():
    layer = nn.Linear(4, 2)
    scope, charged = Scope(layer), set()
    recorders = [Recorder(layer, scope, charged=charged) for _ in range(3)]
    for recorder in recorders[:2]:
        with torch.no_grad(), recorder:
            F.linear(torch.rand(1, 4), layer.weight)
    assert [recorder.ops[0].weights for recorder in recorders[:2]] == [8, 0]
    assert [op.name for op in recorders[2].unused()] == ["bias"]
    assert recorders[2].charge(layer.bias)
    assert not recorders[0].charge(layer.bias)
    assert recorders[1].unused() == []


def test_parameters_in_one_memory_are_told_apart():
    memory = torch.rand(20)
    model = nn.Module()
    model.first, model.second = nn.Parameter(memory[:8].view(2, 4)), nn.Parameter(memory[8:])
    model.same = nn.Parameter(memory[8:])
    found = Provenance(model)
    (first,), (second,) = found.of(model.first[1]), found.of(model.second)
    assert first != second
    assert len(found.of(memory)) == 2
    assert [name for name, _ in found.parameters.values()] == ["first", "second"]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_of_parameters_alone_is_followed_to_where_it_meets_an_activation(transposed):
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(torch.rand(1, 8, 6, 6))
            self.conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(8, 8, 1)

        def forward(self, x):
            return self.conv(self.start) + x

    conv, add = record(Constant(), IMAGE)
    assert (conv.ahead, conv.macs, conv.params) == (True, 36 * 64, 0)
    assert add.params == 288 + 72
