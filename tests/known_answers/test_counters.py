"""MACs against two other counters; the table in docs/costs.md is made of these figures."""

import math
import warnings

import pytest
import torch
import torch_pruning
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from searcher.costs.counting.recorder import record
from searcher.costs.op import Op
from searcher.models import densenet, resnet18, resnet20
from tests.known_answers.efficientnet import efficientnet_b0

NETS = {
    "DenseNet k=4, groups=2": (lambda: densenet(growth_rate=4, groups_1x1=2, groups_3x3=2), 32),
    "DenseNet k=4, depthwise": (lambda: densenet(growth_rate=4, groups_1x1=2, depthwise=True), 32),
    "ResNet-20": (resnet20, 32),
    "ResNet-18": (resnet18, 32),
    "EfficientNet-B0": (efficientnet_b0, 224),
}


def elements(ops: list[Op], *kinds: str) -> int:
    return sum(math.prod(op.inputs[0]) for op in ops if op.kind in kinds)


def beyond(ops: list[Op]) -> int:
    """What torch-pruning counts besides: 2 a batch norm's element, 1 a ReLU's and a pooled one, biases."""
    biases = sum(math.prod(op.output) for op in ops if op.arithmetic.bias)
    return 2 * elements(ops, "batch_norm") + elements(ops, "relu", "avg_pool", "mean") + biases


@pytest.mark.parametrize("name", NETS)
def test_macs_agree_with_other_counters(name):
    made, size = NETS[name]
    model: nn.Module = made().eval()
    image = torch.rand(1, 3, size, size)
    ops = record(model, image)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        model(image)
    with warnings.catch_warnings():
        theirs, params = torch_pruning.utils.count_ops_and_params(model, image)
    macs = sum(op.macs for op in ops)
    print(f"| {name} | {macs:,} | {flops.get_total_flops() // 2:,} | {theirs:,.0f} | {beyond(ops):,} |")
    assert flops.get_total_flops() == 2 * macs
    assert theirs == macs + beyond(ops)
    assert params == sum(op.params for op in ops)
