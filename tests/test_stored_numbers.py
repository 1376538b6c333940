"""Numbers that a network has elsewhere than in real parameters; what it computes elsewhere than in torch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from searcher.costs.counting.recorder import record
from searcher.costs.op import not_counted
from searcher.costs.scores import score
from searcher.costs.shapes.outline import outline

IMAGE = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))


class Holding(nn.Module):
    """A network whose weight is held in one of several ways, and used as a test says."""

    def __init__(self, how, weight, use):
        super().__init__()
        if how == "parameter":
            self.weight = nn.Parameter(weight)
        elif how == "frozen":
            self.weight = nn.Parameter(weight, requires_grad=False)
        elif how in ("buffer", "passing buffer"):
            self.register_buffer("weight", weight, persistent=how == "buffer")
        else:
            self.weight = weight
        self.use = use

    def forward(self, x):
        return self.use(self, x)


LAYERS = {
    "convolution": ((4, 8, 3, 3), lambda net, x: F.conv2d(x, net.weight)),
    "twice": ((8, 8, 1, 1), lambda net, x: F.conv2d(F.conv2d(x, net.weight), net.weight)),
    "transposed": ((8, 4, 2, 2), lambda net, x: F.conv_transpose2d(x, net.weight, stride=2)),
    "linear": ((5, 6), lambda net, x: F.linear(x, net.weight)),
    "product": ((6, 5), lambda net, x: x @ net.weight),
    "computed": ((4, 8, 3, 3), lambda net, x: F.conv2d(x, net.weight / 2)),
    "a view": ((4, 72), lambda net, x: F.conv2d(x, net.weight.view(4, 8, 3, 3))),
}


@pytest.mark.parametrize("how", ["frozen", "buffer", "passing buffer", "attribute"])
@pytest.mark.parametrize("layer", LAYERS)
def test_weights_cost_the_same_however_they_are_held(how, layer):
    sizes, use = LAYERS[layer]
    weight = torch.randn(sizes, generator=torch.Generator().manual_seed(1))
    weight.view(-1)[:7] = 0
    expected, found = (record(Holding(h, weight, use), IMAGE) for h in ("parameter", how))
    assert [op for op in found if not op.ahead] == [op for op in expected if not op.ahead]
    assert sum(op.weights for op in found) == weight.numel()
    assert sum(op.nonzero for op in found) == weight.numel() - 7
    assert not_counted(found) == []


@pytest.mark.parametrize("how", ["buffer", "attribute"])
def test_what_is_predicted_of_a_weight_in_a_buffer_is_what_is_counted(how):
    sizes, use = LAYERS["convolution"]
    counted = record(Holding(how, torch.randn(sizes), use), IMAGE)
    with torch.device("meta"):
        model = Holding(how, torch.randn(sizes), use)
    assert outline(model, tuple(IMAGE.shape)).ops == counted


def test_an_embedding_in_a_buffer():
    net = Holding("buffer", torch.randn(10, 4), lambda net, x: F.embedding(x, net.weight))
    (op,) = record(net, torch.tensor([[1, 2]]))
    assert (op.kind, op.weights) == ("embedding", 40)


@pytest.mark.parametrize(
    ("how", "use", "lines"),
    [
        ("buffer", lambda net, x: x * net.weight, ["numbers that no parameter holds: weight (288)"]),
        ("buffer", lambda net, x: x + net.weight.exp(), ["numbers that no parameter holds: weight (288)"]),
        (
            "attribute", lambda net, x: x + net.weight,
            ["numbers that no parameter holds: a tensor of the network (288)"],
        ),
        ("parameter", lambda net, x: x + net.weight, []),
        ("buffer", lambda net, x: x + x.new_ones(1, 8, 6, 6), []),
        ("buffer", lambda net, x: F.batch_norm(x, net.weight[0, :, 0, 0], net.weight[0, :, 0, 1].abs()), []),
    ],
)  # fmt: skip
def test_other_numbers_that_no_parameter_holds_are_listed(how, use, lines):
    assert not_counted(record(Holding(how, torch.randn(1, 8, 6, 6), use), IMAGE)) == lines


def test_a_single_number_and_what_was_only_seen_as_a_view_are_not_listed():
    net = Holding("buffer", torch.tensor(2.0), lambda net, x: (x.data * net.weight) @ x.data.mT)
    assert not_counted(record(net, IMAGE)) == []


def test_a_complex_parameter_is_two_numbers_an_element():
    weight = torch.complex(torch.ones(4, 6), torch.zeros(4, 6))
    net = Holding("parameter", weight, lambda net, x: (x[0, 0].to(torch.complex64) @ net.weight.mT).real)
    ops = record(net, IMAGE)
    assert sum(op.weights for op in ops) == 48
    assert sum(op.nonzero for op in ops) == 24
    assert score(ops, "imt-2022", freebie_bits=32).params == 24
    vector = Holding("parameter", torch.zeros(6, dtype=torch.complex64), lambda net, x: x + net.weight.real)
    assert sum(op.biases for op in record(vector, IMAGE)) == 12


@pytest.mark.parametrize(
    ("use", "function"),
    [
        (lambda net, x: torch.from_numpy(np.tanh(x.numpy())) @ x.mT, "Tensor.numpy"),
        (lambda net, x: torch.tensor(np.tanh(np.asarray(x))), "Tensor.__array__"),
        (lambda net, x: torch.as_tensor(np.tanh(x.detach().cpu().numpy())) * 2, "Tensor.numpy"),
        (lambda net, x: torch.tensor(x.tolist()), "Tensor.tolist"),
        (lambda net, x: x * float(x.mean()), "Tensor.__float__"),
        (lambda net, x: x * x.mean().item(), "Tensor.item"),
    ],
)
def test_what_leaves_torch_is_listed(use, function):
    lines = not_counted(record(Holding("buffer", torch.zeros(1), use), IMAGE))
    assert lines == [f"{function} in the network, 1 times"]


def test_a_parameters_value_may_be_read_and_a_question_be_asked():
    def use(net, x):
        return x * net.weight.item() if (x.sum() > 0) else -x

    assert not_counted(record(Holding("buffer", torch.tensor(2.0), use), IMAGE)) == []
