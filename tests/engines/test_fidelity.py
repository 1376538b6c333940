"""int8 networks against their own reference in exact arithmetic: right ones hold, broken ones are named."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searcher.compression.engines import fidelity, fx, weights
from searcher.compression.engines.fx_reference import decomposed
from searcher.errors import TrialError
from searcher.models import densenet, resnet20

IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Joined(nn.Module):
    """A concatenation of a narrow and a wide range, the narrow one through some module."""

    def __init__(self, through):
        super().__init__()
        torch.manual_seed(0)
        self.narrow, self.wide = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        nn.init.normal_(self.wide.weight, std=2.0)
        self.through, self.head = through, nn.Conv2d(16, 10, 1)

    def forward(self, x):
        return self.head(torch.cat([self.through(self.narrow(x)), self.wide(x)], 1)).mean((2, 3))


class Shuffled(nn.Module):
    def forward(self, x):
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Repeated(nn.Module):
    """One convolution for two ranges, an activation behind its first call alone."""

    def __init__(self, calls=2, bias=True):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=bias)
        self.calls = calls
        with torch.no_grad():
            self.conv.weight *= 10

    def forward(self, x):
        x = self.stem(x)
        for _ in range(self.calls - 1):
            x = F.relu(self.conv(x))
        return self.head(self.conv(x).mean((2, 3)))


class Copied(Repeated):
    """The same with a convolution a call."""

    def __init__(self, calls=2, bias=True):
        super().__init__(calls, bias)
        self.copies = nn.ModuleList([copy.deepcopy(self.conv) for _ in range(calls)])
        del self.conv

    def forward(self, x):
        x = self.stem(x)
        for conv in self.copies[:-1]:
            x = F.relu(conv(x))
        return self.head(self.copies[-1](x).mean((2, 3)))


class Padded(nn.Module):
    def __init__(self, kernel, dilation=1, padding="same"):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, kernel, padding=padding, dilation=dilation)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(F.relu(self.conv(x)).mean((2, 3)))


class Functional(nn.Module):
    """A convolution without a module, and without most of its arguments."""

    def __init__(self, **given):
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.head, self.given = nn.Parameter(torch.randn(8, 3, 3, 3)), nn.Linear(8, 10), given

    def forward(self, x):
        return self.head(F.relu(F.conv2d(x, self.weight, **self.given)).mean((2, 3)))


class OnePixel(nn.Module):
    def __init__(self, mean):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.mean = nn.Conv2d(3, 8, 8), nn.Linear(8, 10), mean

    def forward(self, x):
        return self.head(self.mean(F.relu(self.conv(x))))


class Scaled(nn.Module):
    """What a number multiplies has another range than before."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 10, 3)

    def forward(self, x):
        return self.head(F.relu(self.conv(x)) * 20).mean((2, 3))


class Then(nn.Module):
    """A convolution, a function, and a linear layer."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.function = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 10), function

    def forward(self, x):
        return self.head(self.function(self.conv(x)).mean((2, 3)))


class Normed(Repeated):
    """One convolution with a norm of its own behind each call."""

    def __init__(self, calls=2, bias=True):
        super().__init__(calls, bias)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(calls))
        for norm in self.norms:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.running_mean)

    def forward(self, x):
        x = self.stem(x)
        for norm in self.norms:
            x = F.relu(norm(self.conv(x)))
        return self.head(x.mean((2, 3)))


class Clamped(Joined):
    def forward(self, x):
        return self.head(torch.cat([self.narrow(x), F.hardtanh(self.wide(x))], 1)).mean((2, 3))


class HalfUsed(Repeated):
    """The first call's output is not used."""

    def forward(self, x):
        x = self.stem(x)
        _, second = self.conv(x), self.conv(2 * x)
        return self.head(second.mean((2, 3)))


class Reflected(Then):
    def __init__(self):
        super().__init__(F.relu)
        self.conv = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")


THROUGH = {
    "dropout": nn.Dropout(0.1),
    "sigmoid": nn.Sigmoid(),
    "hardsigmoid": nn.Hardsigmoid(),
    "tanh": nn.Tanh(),
    "channel shuffle": nn.ChannelShuffle(2),
    "own shuffle": Shuffled(),
    "pool": nn.MaxPool2d(3, 1, 1),
    "relu": nn.ReLU(),
    "nothing": nn.Identity(),
}
NETS = {
    **{f"joined behind {name}": lambda through=through: Joined(through) for name, through in THROUGH.items()},
    "called twice": Repeated,
    "called three times": lambda: Repeated(3),
    "same padding": lambda: Padded(3),
    "same padding, even kernel": lambda: Padded(4),
    "same padding, dilated": lambda: Padded(3, dilation=2),
    "a function": Functional,
    "a function, same padding": lambda: Functional(padding="same", dilation=2),
    "mean of one pixel": lambda: OnePixel(lambda x: x.mean((2, 3))),
    "mean of one pixel, kept": lambda: OnePixel(lambda x: x.mean((2, 3), keepdim=True).flatten(1)),
    "mean of one pixel, a function": lambda: OnePixel(lambda x: torch.mean(x, dim=[-1, -2])),
    "times a number": Scaled,
    "times a number, then a mean": lambda: Then(lambda x: x * 0.1),
    "times a number, then ReLU": lambda: Then(lambda x: F.relu(x * -0.5)),
    "times a number, then ReLU6": lambda: Then(lambda x: F.relu6(x * 6)),
    "joined behind a bound": lambda: Clamped(nn.Identity()),
    "called with another norm each": Normed,
    "called twice, used once": HalfUsed,
    "same padding, even and dilated": lambda: Padded((4, 3), dilation=2),
    "a function, even and dilated": lambda: Functional(padding="same", dilation=(2, 1)),
    "a function, one padding for both": lambda: Functional(padding=(1,)),
    "no padding, by name": lambda: Padded(3, padding="valid"),
    "a function without padding, by name": lambda: Functional(padding="valid"),
    "densenet": lambda: densenet(growth_rate=4, blocks=(1, 1, 1, 1)),
    "resnet20": resnet20,
}


def int8(model, exclude=None):
    prepared = fx.prepare(model.eval(), [IMAGES], exclude or {})
    return fx.convert(model, prepared), prepared


def close(model, converted, decibels):
    with torch.no_grad():
        assert fidelity.decibels(model(IMAGES), converted(IMAGES)) >= decibels


EVEN = "ignore:Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy"


@pytest.mark.filterwarnings(EVEN)
@pytest.mark.parametrize("net", NETS)
def test_what_is_executed_is_the_reference(net):
    model = NETS[net]()
    converted, _ = int8(model)
    found = fx.execution(converted).fidelity
    assert found.decibels >= fidelity.MIN_DB
    assert found.steps <= fidelity.MAX_STEPS
    assert found.compared >= 2
    # The quantization itself costs: a right network is far from noise all the same.
    close(model, converted, 14)


@pytest.mark.parametrize("calls", [2, 3])
def test_a_module_that_is_called_again_is_as_good_as_a_copy_for_each_call(calls):
    # Without a bias: one that several calls share is not rounded to the steps of each call's input.
    repeated, copied = Repeated(calls, bias=False).eval(), Copied(calls, bias=False).eval()
    with torch.no_grad():
        torch.testing.assert_close(repeated(IMAGES), copied(IMAGES))
        one, other = int8(repeated)[0](IMAGES), int8(copied)[0](IMAGES)
    torch.testing.assert_close(one, other)


def test_a_network_in_floating_point_has_no_execution():
    assert fx.execution(resnet20()) is None


def off(converted, name, **attributes):
    for key, value in attributes.items():
        setattr(converted.get_submodule(name), key, value)


def swap_codes(converted, name):
    """Another weight of the same size and scales."""
    module = converted.get_submodule(name)
    weight = module.weight()
    scales, zeros = weight.q_per_channel_scales(), weight.q_per_channel_zero_points()
    other = torch._make_per_channel_quantized_tensor(weight.int_repr().flip(0), scales, zeros, 0)
    module.set_weight_bias(other, module.bias())


BROKEN = {
    "a scale ten times off": (lambda c: off(c, "conv1", scale=c.conv1.scale * 10), "conv1"),
    "a zero point off": (lambda c: off(c, "layer2.0.conv1", zero_point=9), "layer2.0.conv1"),
    "other weights": (lambda c: swap_codes(c, "layer3.1.conv2"), "layer3.1.conv2"),
    "a head off": (lambda c: off(c, "linear", scale=c.linear.scale / 10), "linear"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_named(what):
    model = resnet20().eval()
    converted, prepared = int8(model)
    break_it, where = BROKEN[what]
    break_it(converted)
    with pytest.raises(TrialError, match=rf"int8: {where} differs from exact arithmetic by \d+ steps"):
        fidelity.check(converted, decomposed(prepared), IMAGES)


@pytest.mark.filterwarnings(
    "ignore:All inputs of this cat operator must share the same quantization parameters"
)
def test_a_concatenation_by_the_scale_of_its_first_input_is_named():
    model = Joined(nn.Sigmoid()).eval()
    converted, prepared = int8(model)
    node = next(n for n in converted.graph.nodes if n.target is torch.ops.quantized.cat)
    node.target, node.args = torch.cat, node.args[:2]
    converted.recompile()
    with pytest.raises(TrialError, match="int8: cat differs"):
        fidelity.check(converted, decomposed(prepared), IMAGES)


def test_padding_that_an_int8_layer_adds_twice_is_named():
    """torch reflects the borders and then pads with zeros as well."""
    with pytest.raises(TrialError, match=r"int8: conv differs from exact arithmetic by \d+ steps"):
        int8(Reflected())


def test_other_networks_that_agree_step_by_step_still_differ_as_a_whole(monkeypatch):
    model = resnet20().eval()
    converted, prepared = int8(model)
    monkeypatch.setattr(fidelity, "MIN_DB", 200.0)
    with pytest.raises(TrialError, match=r"the network differs from exact arithmetic by \d+\.\d dB"):
        fidelity.check(converted, decomposed(prepared), IMAGES)


def test_decibels():
    ones = torch.ones(10)
    assert fidelity.decibels(ones, ones) == math.inf
    assert fidelity.decibels(ones, 1.1 * ones) == pytest.approx(20, abs=1e-4)
    assert fidelity.decibels(0 * ones, ones) == -math.inf


def test_the_file_of_a_module_that_is_called_twice_has_its_weights_once():
    converted, _ = int8(Repeated())
    names = weights.deployed(converted)
    of_conv = sorted(name for name in names if name.startswith("conv"))
    assert of_conv == [
        "conv#2.scale",
        "conv#2.zero_point",
        "conv.bias",
        "conv.scale",
        "conv.weight",
        "conv.weight_scale",
        "conv.zero_point",
    ]


def test_the_file_of_a_convolution_with_another_norm_for_each_call_has_both_weights():
    converted, _ = int8(Normed())
    names = weights.deployed(converted)
    assert {"conv.weight", "conv.bias", "conv#2.weight", "conv#2.weight_scale", "conv#2.bias"} <= set(names)
    assert not torch.equal(names["conv.bias"], names["conv#2.bias"])


@pytest.mark.parametrize("module", [nn.PReLU(), nn.ConvTranspose2d(8, 8, 2, 2)])
def test_a_module_that_cannot_be_int8_is_named_and_may_be_excluded(module):
    model = Then(module)
    with pytest.raises(TrialError, match=rf"function \({type(module).__name__}\); exclude"):
        int8(model)
    close(model, int8(model, {"function": 32})[0], 20)
