"""The walk over what is executed: every operation is a row, and nothing is skipped silently."""

import re

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.profiler import profile

from searcher.compression.engines.fx import quantize
from searcher.costs.counting.executed import walk
from searcher.costs.counting.recorder import record
from searcher.costs.counting.tensors import code_width
from searcher.costs.op import load_ops, not_counted, save_ops
from searcher.errors import SearcherError
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
        ("neg()", "neg"),
        ("cat()", "cat"),
        ("mul()", "mul"),
        ("add()", "add"),
        ("add_1()", "add"),
        ("mean()", "mean"),
        ("uncounted()", "uncounted"),
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
        "aten::erf in the network, 1 times",
        "parameters that nothing uses: unused",
    ]
    assert not_counted(record(resnet20(), IMAGE)) == []


def test_a_converted_graph_alone():
    model = densenet(growth_rate=4, blocks=(2, 2))
    converted = quantize(model, [IMAGE], {"dense1": 16})
    ops = {op.name: op for op in record(converted, IMAGE)}
    conv, kept, linear = ops["dense2.0.conv1"], ops["dense1.0.conv1"], ops["classifier"]
    assert (conv.operation, conv.weight_bits, conv.bits, conv.activation_bits) == (
        "quantized::conv2d_relu", 8, 8, 8,
    )  # fmt: skip
    assert (kept.operation, kept.weight_bits, kept.bias_bits) == ("aten::convolution", 16, 16)
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


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel and other")
def test_the_lowest_code_of_eight_bits_needs_eight():
    eight = ([-128.0, 3.0], [-127.0, 3.0], [-64.0, 3.0], [64.0, 3.0])
    for codes, width in (
        *((codes, 8) for codes in eight),
        ([-63.0, 3.0], 7),
        ([-4.0, 3.0], 3),
        ([0.0, 0.0], 1),
    ):
        assert code_width(torch.quantize_per_tensor(torch.tensor(codes), 1.0, 0, torch.qint8)) == width


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated and will be removed in 2.10")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel and other")
def test_dynamic_quantization_is_read_as_it_is_executed():
    model = nn.Sequential(nn.Linear(16, 4)).eval()
    converted = quantize_dynamic(model, {nn.Linear})
    (op,) = [op for op in record(converted, torch.rand(1, 16)) if op.kind == "linear"]
    assert (op.weight_bits, op.activation_bits, op.macs) == (8, 8, 64)


@pytest.mark.slow
def test_bits_by_layer_agree_with_the_profiler_in_order():
    model = densenet(growth_rate=4)
    converted = quantize(model, [torch.rand(2, 3, 32, 32)], {"dense1": 16, "dense3": 16})
    image = torch.rand(1, 3, 32, 32)
    rows = [op for op in walk(model, converted, image) if op.kind == "conv"]
    # torch 2.11 warns where it is not said that events of several cycles are kept; there is one cycle.
    with profile(acc_events=True) as trace, torch.no_grad():
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


def test_an_int8_layer_that_runs_twice_has_its_parameters_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(self.conv(x))

    ops = [op for op in record(quantize(Twice().eval(), [IMAGE], {}), IMAGE) if op.kind == "conv"]
    assert [op.params for op in ops] == [12, 0]


class Shared(nn.Module):
    """One ReLU module after several layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.a(x))
        y = self.relu(self.b(x))
        z = self.relu(torch.cat([self.c(y)[:, :4], x[:, 4:]], 1))
        return y + z


@pytest.mark.parametrize(
    "exclude", [{}, {"a": 16}, {"b": 16}, {"b": 32}, {"c": 16}, {"a": 16, "c": 32}], ids=str
)
def test_a_module_that_several_layers_share(exclude):
    model = Shared().eval()
    ops = walk(model, quantize(model, [IMAGE], exclude), IMAGE)
    assert [op.kind for op in ops] == ["conv", "relu", "conv", "relu", "conv", "cat", "relu", "add"]
    widths = {op.name: op.bits for op in ops if op.kind == "conv"}
    assert widths == dict.fromkeys("abc", 8) | exclude
    after = [op for op in ops if op.kind == "relu"]
    assert [op.swallowed_by for op in after[:2]] == [None if n in exclude else n for n in "ab"]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.LayerNorm([8, 16, 16]), "layer_norm"),
        (nn.InstanceNorm2d(8, affine=True), "instance_norm"),
        (nn.ELU(), "elu"),
        (nn.LeakyReLU(), "leaky_relu"),
    ],
)
def test_int8_forms_of_other_layers(layer, kind):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Conv2d(8, 4, 1)).eval()
    converted = quantize(model, [IMAGE], {})
    _, op, _ = walk(model, converted, IMAGE)
    assert (op.kind, op.operation.split("::")[0], op.activation_bits) == (kind, "quantized", 8)
    assert not_counted(record(converted, IMAGE)) == []


def test_rows_come_back_from_their_file(tmp_path):
    ops = record(Functional(), IMAGE)
    save_ops(ops, tmp_path / "cost.json")
    assert load_ops(tmp_path / "cost.json") == ops
    assert [path.name for path in tmp_path.iterdir()] == ["cost.json"]


def test_a_file_of_rows_is_replaced_not_written_over(tmp_path):
    path, opened = tmp_path / "cost.json", tmp_path / "opened"
    ops = record(Functional(), IMAGE)
    save_ops(ops, path)
    opened.hardlink_to(path)
    save_ops(ops[:1], path)
    assert (load_ops(path), load_ops(opened)) == (ops[:1], ops)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[:99], "Invalid JSON"),
        (lambda text: text.replace('"kind"', '"sort"'), "0.kind: Field required"),
        (lambda text: "{}", "Input should be a valid array"),
        (lambda text: "\xff", "Invalid JSON"),
    ],
)
def test_a_file_of_rows_that_cannot_be_read_is_named(tmp_path, change, why):
    path = tmp_path / "cost.json"
    save_ops(record(nn.ReLU(), IMAGE), path)
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(SearcherError, match=rf"cost\.json is damaged or of another version: {why}") as raised:
        load_ops(path)
    assert "\n" not in str(raised.value)
