"""imt-2025 and micronet-2019: published figures, recomputed; and what every variant says is known."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from searcher.compression.engines.fx import quantize
from searcher.costs.arithmetic import Arithmetic
from searcher.costs.counting.executed import walk
from searcher.costs.counting.recorder import record
from searcher.costs.op import Op
from searcher.costs.scores import VARIANTS, score
from searcher.models import densenet, resnet18
from tests.known_answers.efficientnet import efficientnet_b0

IMAGENET = "micronet-2019-imagenet"


def rows(model: nn.Module, size: int = 32) -> list[Op]:
    """A fresh network's rows; an initial weight in millions is exactly zero."""
    dtype = next(model.parameters()).dtype
    ops = record(model, torch.rand(1, 3, size, size, dtype=dtype))
    return [replace(op, nonzero=op.weights, density=1.0, blocks=None) for op in ops]


def made_of(params: float, adds: float) -> list[Op]:
    """Parameters at 32 bits and additions at 32 bits, in one operation."""
    arithmetic = Arithmetic(0, round(adds))
    return [Op("x", "add", "aten::add", (), (), arithmetic, weights=round(params), nonzero=round(params))]


def unquantized(name: str, ops: list[Op]) -> float:
    return score(ops, name, freebie_bits=32).value


KNOWN: dict[str, dict[str, Callable[[], float]]] = {
    "imt-2022": {
        "ResNet-18": lambda: score(rows(resnet18()), "imt-2022").value,
        "DenseNet k=3": lambda: score(rows(densenet(growth_rate=3)), "imt-2022").value,
        "DenseNet k=4, depthwise": lambda: (
            score(rows(densenet(growth_rate=4, groups_1x1=2, depthwise=True)), "imt-2022").value
        ),
    },
    "imt-2025": {
        "ResNet-18 in half precision": lambda: score(rows(resnet18().bfloat16()), "imt-2025").value,
    },
    "micronet-2019": {
        "0.09853e6 parameters and 85.27e6 operations": lambda: unquantized(
            "micronet-2019", made_of(0.09853e6, 85.27e6)
        ),
    },
    IMAGENET: {
        "3e6 parameters and 500e6 operations": lambda: unquantized(IMAGENET, made_of(3e6, 500e6)),
        "EfficientNet-B0": lambda: score(rows(efficientnet_b0(), 224), IMAGENET).value,
    },
    "micronet-2019-wikitext": {
        "159e6 parameters and 318e6 operations": lambda: unquantized(
            "micronet-2019-wikitext", made_of(159e6, 318e6)
        ),
    },
}


@pytest.mark.parametrize(("variant", "known"), [(v, k) for v, rules in VARIANTS.items() for k in rules.known])
def test_what_a_variant_says_is_known(variant, known):
    digits = len(str(VARIANTS[variant].known[known]).partition(".")[2])
    assert round(KNOWN[variant][known](), digits) == VARIANTS[variant].known[known]


def test_every_variant_has_known_answers():
    assert all(rules.known and rules.accumulator_bits for rules in VARIANTS.values())


def test_efficientnet_with_its_published_residual_additions():
    """The published additions, 395.60e6, are ours and the residual ones over six times as many channels."""
    ops = rows(efficientnet_b0(), 224)
    ours = score(ops, IMAGENET)
    folded = sum(op.params if not op.folds_into else op.fold_bias for op in ops)
    multiplies = sum(op.arithmetic.multiplies for op in ops if not op.folds_into)
    assert folded == 5_267_540
    assert ours.params == folded / 2
    assert multiplies / 2 == pytest.approx(203.31e6, abs=0.005e6)
    residual = sum(op.arithmetic.adds for op in ops if op.kind == "add")
    adds = ours.ops - multiplies / 2
    assert (residual, adds) == (210_112, 394_550_748)
    assert adds + 5 * residual == pytest.approx(395.60e6, abs=0.005e6)
    published = ours.value + 5 * residual / VARIANTS[IMAGENET].reference.ops
    assert published == pytest.approx(0.8936, abs=5e-5)


def wide_block(channels: int, out: int, stride: int) -> nn.Module:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out)
            self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
            self.relu = nn.ReLU()
            self.project = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out else None

        def forward(self, x):
            y = self.relu(self.norm1(x))
            z = self.conv2(self.relu(self.norm2(self.conv1(y))))
            return z + (self.project(y) if self.project else x)

    return Wide()


def test_the_cifar100_reference_is_wrn_28_10():
    layers, channels = [nn.Conv2d(3, 16, 3, padding=1, bias=False)], 16
    with torch.device("meta"):
        for out, first in ((160, 1), (320, 2), (640, 2)):
            for i in range(4):
                layers.append(wide_block(channels, out, 1 if i else first))
                channels = out
        head = [nn.BatchNorm2d(640), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(640, 100)]
        net = nn.Sequential(*layers, *head).to("meta")
    ops = record(net, torch.empty(1, 3, 32, 32, device="meta"))
    reference = VARIANTS["micronet-2019"].reference
    whole = score(ops, "micronet-2019", freebie_bits=32)
    assert whole.params == pytest.approx(reference.params, rel=0.002)
    assert whole.ops == pytest.approx(reference.ops, rel=0.002)


def masked_linear(bits: int) -> Op:
    layer = nn.Linear(128, 512, bias=False)
    with torch.no_grad():
        layer.weight.abs_().add_(1)
        for i in range(0, 512, 8):
            layer.weight[i : i + 4] = 0
    (op,) = record(nn.Sequential(layer), torch.rand(1, 128))
    return replace(op, effective_bits=bits, activation_bits=8)


def test_a_mask_of_4x4_blocks_is_4096_bits():
    op = masked_linear(bits=5)
    assert op.blocks == (2048, 4096)
    assert VARIANTS["micronet-2019"].params(op) * 32 == 4096 + 512 * 128 / 2 * 5


@pytest.mark.parametrize(
    ("zeros", "bits", "form"),
    [
        (0, 8, "dense"),
        (1, 8, "dense"),
        (60, 1, "dense"),
        (20, 8, "mask"),
        (5, 32, "mask"),
    ],
)
def test_each_tensor_in_its_cheapest_form(zeros, bits, form):
    op = replace(masked_linear(bits), weights=100, nonzero=100 - zeros, blocks=None)
    dense, mask = 100 * bits, 100 + (100 - zeros) * bits
    assert (
        VARIANTS["micronet-2019"].params(op) * 32 == min(dense, mask) == {"dense": dense, "mask": mask}[form]
    )


@pytest.mark.parametrize(("weight", "activation", "cost"), [(3, 5, 5 / 32), (32, 8, 1), (2, 16, 0.5)])
def test_a_multiplication_is_as_wide_as_its_widest_input(weight, activation, cost):
    op = Op(
        "x", "mul", "aten::mul", (), (), Arithmetic(1, 0), effective_bits=weight, activation_bits=activation
    )
    assert VARIANTS["micronet-2019"].ops(op, False, 32) == cost


def test_zeros_take_multiplications_and_additions_with_them():
    layer = nn.Conv2d(8, 4, 1)
    with torch.no_grad():
        layer.weight.abs_().add_(1)[:, :4] = 0
    (op,) = record(nn.Sequential(layer), torch.rand(1, 8, 2, 2))
    assert score([op], "micronet-2019", freebie_bits=32).ops == 16 * (4 + 3 + 1)
    assert score([op], "micronet-2019").ops == 16 * (4 / 2 + 3 + 1)
    assert score([op], "imt-2025").ops == 16 * 8


@pytest.mark.parametrize("kept", [0, 1, 8, 9, 72])
def test_no_dot_product_adds_less_than_nothing(kept):
    layer = nn.Conv2d(8, 8, 3, groups=8)
    with torch.no_grad():
        layer.weight.copy_((torch.arange(72) < kept).view(8, 1, 3, 3))
    (op,) = record(nn.Sequential(layer), torch.rand(1, 8, 6, 6))
    assert score([op], "micronet-2019", freebie_bits=32).ops == 16 * (kept + max(kept - 8, 0) + 8)


def test_a_batch_norm_folds_where_nothing_else_reads_the_convolution():
    conv, norm = nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)
    folded = record(nn.Sequential(conv, norm), torch.rand(1, 3, 2, 2))
    alone = record(nn.Sequential(norm, nn.ReLU()), torch.rand(1, 4, 2, 2))
    held = record(nn.Sequential(nn.Conv2d(3, 4, 1), norm), torch.rand(1, 3, 2, 2))
    costs = [score(ops, "micronet-2019", freebie_bits=32) for ops in (folded, alone, held)]
    # 12 weights with 4 biases in the place of 8; 16 outputs of length 3, and a bias.
    assert [c.params for c in costs] == [16, 8, 16]
    assert [c.ops for c in costs] == [16 * (3 + 2 + 1), 16 * 2 + 16, 16 * (3 + 2 + 1)]


def test_an_unfolded_batch_norm_of_int8_multiplies_by_its_fp32_scale():
    layers = (nn.Conv2d(3, 8, 1), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1))
    model, images = nn.Sequential(*layers).eval(), torch.rand(2, 3, 8, 8)
    ops = walk(model, quantize(model, [images], {}), images)
    norm = next(op for op in ops if op.kind == "batch_norm")
    assert (norm.activation_bits, norm.bias_bits, norm.folds_into) == (8, 32, None)
    assert VARIANTS["micronet-2019"].ops(norm, False, 32) == 128 * (1 + 8 / 32)


@pytest.mark.parametrize(
    ("norm", "each"),
    [(nn.BatchNorm2d(4), 2), (nn.BatchNorm2d(4, affine=False), 2), (nn.LayerNorm([4, 2, 2]), 7)],
)
def test_a_scale_is_as_wide_as_the_network(norm, each):
    ops = record(nn.Sequential(norm).bfloat16(), torch.rand(1, 4, 2, 2).bfloat16())
    assert score(ops, "micronet-2019").ops == 16 * each * 16 / 32


def test_a_variant_counts_the_same_in_half_precision_as_its_freebie():
    torch.manual_seed(0)
    model = densenet(blocks=(1, 1))
    full = rows(model)
    half = rows(model.bfloat16())
    assert score(full, "imt-2022") == score(half, "imt-2022")
    assert score(full, "micronet-2019").params == score(half, "micronet-2019").params
    assert score(full, "imt-2025").value == pytest.approx(2 * score(half, "imt-2025").value)
