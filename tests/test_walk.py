"""The walk over what is executed: every operation is a row, and nothing is skipped silently."""

import re

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.profiler import profile

from searcher.costs.graph import walk
from searcher.costs.op import load_ops, not_counted, save_ops
from searcher.costs.record import record
from searcher.engines.fx import quantize
from searcher.models import densenet, resnet20

IMAGE = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, groups=1)
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.unused = nn.Parameter(torch.ones(7))

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = torch.cat([x, x.neg()], 1)[:, :4] * self.scale
        x = x.add(1.0).add_(x)
        return torch.erf(x.mean((2, 3)))


def test_modules_functions_and_methods_are_rows():
    ops = record(Functional(), IMAGE)
    names = [(op.name, op.kind) for op in ops]
    assert names == [
        ("conv", "conv"),
        ("relu()", "relu"),
        ("uncounted()", "uncounted"),
        ("cat()", "cat"),
        ("mul()", "mul"),
        ("add()", "add"),
        ("add_1()", "add"),
        ("mean()", "mean"),
        ("uncounted_1()", "uncounted"),
        ("unused", "unused"),
    ]
    conv, relu, mul, mean = ops[0], ops[1], ops[4], ops[7]
    assert (conv.inputs, conv.output) == (((1, 3, 16, 16),), (1, 4, 16, 16))
    assert (conv.weights, conv.biases, conv.macs) == (108, 4, 1024 * 27)
    assert (conv.arithmetic.multiplies, conv.arithmetic.adds) == (1024 * 27, 1024 * 27)
    assert (relu.arithmetic.multiplies, relu.arithmetic.adds) == (1024, 0)
    assert (mul.weights, mul.arithmetic.multiplies) == (4, 1024)
    assert (mean.arithmetic.multiplies, mean.arithmetic.adds) == (4, 4 * 255)


def test_what_is_not_known_is_listed():
    lines = not_counted(record(Functional(), IMAGE))
    assert lines == [
        "aten::neg in the network, 1 times",
        "aten::erf in the network, 1 times",
        "parameters that nothing uses: unused",
    ]
    assert not_counted(record(resnet20(), IMAGE)) == []


@pytest.mark.parametrize(
    ("layer", "sizes", "macs"),
    [
        (nn.ConvTranspose2d(4, 6, 3, 2, bias=False), (1, 4, 5, 5), 100 * 6 * 9),
        (nn.Conv1d(4, 6, 3), (1, 4, 9), 6 * 7 * 12),
        (nn.Linear(7, 5), (1, 3, 7), 3 * 35),
        (nn.MultiheadAttention(8, 2, batch_first=True), (1, 4, 8), 4 * 8 * 24 + 2 * 4 * 4 * 8 + 4 * 64),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 4, 8), 4 * 8 * (24 + 8 + 32) + 2 * 128),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_macs_of_other_layers(layer, sizes, macs):
    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return layer(x, x, x)[0] if isinstance(layer, nn.MultiheadAttention) else layer(x)

    ops = record(Self(), torch.rand(sizes))
    assert sum(op.macs for op in ops) == macs
    assert not [op for op in ops if op.kind == "unused"]
    assert sum(op.params for op in ops) == sum(p.numel() for p in layer.parameters())


def test_a_converted_graph_alone():
    model = densenet(growth_rate=4, blocks=(2, 2))
    converted = quantize(model, [IMAGE], {"dense1": 16})
    ops = {op.name: op for op in record(converted, IMAGE)}
    conv, kept, linear = ops["dense2.0.conv1"], ops["dense1.0.conv1"], ops["classifier"]
    assert (conv.operation, conv.weight_bits, conv.bits, conv.activation_bits) == (
        "quantized::conv2d_relu", 8, 8, 8,
    )  # fmt: skip
    assert (kept.operation, kept.weight_bits, kept.bias_bits) == ("aten::convolution", 16, 32)
    assert (linear.weights, linear.biases, linear.bias_bits) == (160, 10, 32)
    assert {op.kind for op in ops.values()} >= {"quantize", "dequantize", "cat"}
    both = walk(model, converted, IMAGE)
    assert sum(op.weights for op in both) == sum(op.weights for op in ops.values())


def test_codes_that_need_fewer_bits_than_they_are_stored_in():
    model = nn.Sequential(nn.Conv2d(3, 2, 1))
    converted = quantize(model, [IMAGE], {})
    module = converted.get_submodule("0")
    weight, bias = module.weight(), module.bias()
    scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    signs = weight.dequantize().sign() * scales.view(-1, 1, 1, 1).float()
    ternary = torch.quantize_per_channel(signs, scales, zeros, 0, torch.qint8)
    module.set_weight_bias(ternary, bias)
    op = next(op for op in record(converted, IMAGE) if op.kind == "conv")
    assert (op.weight_bits, op.effective_bits) == (8, 2)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated and will be removed in 2.10")
def test_dynamic_quantization_is_read_as_it_is_executed():
    model = nn.Sequential(nn.Linear(16, 4)).eval()
    converted = quantize_dynamic(model, {nn.Linear})
    (op,) = [op for op in record(converted, torch.rand(1, 16)) if op.kind == "linear"]
    assert (op.weight_bits, op.activation_bits, op.macs) == (8, 32, 64)


def test_bits_by_layer_agree_with_the_profiler_in_order():
    model = densenet(growth_rate=4)
    converted = quantize(model, [torch.rand(2, 3, 32, 32)], {"dense1": 16, "dense3": 16})
    image = torch.rand(1, 3, 32, 32)
    rows = [op for op in walk(model, converted, image) if op.kind == "conv"]
    with profile() as trace, torch.no_grad():
        converted(image)
    events = sorted(trace.events(), key=lambda event: event.time_range.start)
    ran = [re.sub("_relu$", "", e.name) for e in events if re.search("::conv2d", e.name)]
    assert len(rows) == 120
    assert ran == ["quantized::conv2d" if op.bits == 8 else "aten::conv2d" for op in rows]
    sixteen = {op.name.split(".")[0] for op in rows if op.bits == 16}
    assert sixteen == {"dense1", "dense3"}


def test_a_shared_sparse_layer_is_sparse_every_time():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1, bias=False)

        def forward(self, x):
            return self.conv(self.conv(x))

    model = Twice()
    with torch.no_grad():
        model.conv.weight[0] = 0
    first, second = record(model, torch.rand(1, 2, 4, 4))
    assert (first.weights, first.nonzero, first.density) == (4, 2, 0.5)
    assert (second.weights, second.density, second.weight_bits) == (0, 0.5, 32)


def test_rows_come_back_from_their_file(tmp_path):
    ops = record(Functional(), IMAGE)
    save_ops(ops, tmp_path / "cost.json")
    assert load_ops(tmp_path / "cost.json") == ops
