"""Transposed convolutions: the products that are executed, by every variant's rules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from searcher.costs.counting.recorder import record
from searcher.costs.scores import score
from searcher.costs.shapes.outline import outline
from tests.known_answers.test_variants import rows

WIDE, MIDDLE, DEEP = 32 * 32, 16 * 16, 8 * 8
CONVOLUTIONS = (
    # outputs of a channel, kernel area × input channels, output channels
    (WIDE, 9 * 3, 8), (WIDE, 9 * 8, 8),
    (MIDDLE, 9 * 8, 16), (MIDDLE, 9 * 16, 16),
    (DEEP, 9 * 16, 32), (DEEP, 9 * 32, 32),
    (MIDDLE, 9 * 32, 16), (MIDDLE, 9 * 16, 16),
    (WIDE, 9 * 16, 8), (WIDE, 9 * 8, 8), (WIDE, 8, 4),
)  # fmt: skip
UPWARDS = ((DEEP * 32, MIDDLE * 16, 4 * 16), (MIDDLE * 16, WIDE * 8, 4 * 8))
"""Input elements, output elements, kernel area × output channels."""


class UNet(nn.Module):
    """Two steps down and up again, with biases and 4 outputs a pixel."""

    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([double(3, 8), double(8, 16), double(16, 32)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.join = nn.ModuleList([double(32, 16), double(16, 8)])
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        first = self.down[0](x)
        second = self.down[1](self.pool(first))
        y = self.down[2](self.pool(second))
        for up, join, beside in zip(self.up, self.join, (second, first), strict=True):
            y = join(torch.cat([up(y), beside], 1))
        return self.head(y)


def double(read, made):
    layers = (nn.Conv2d(read, made, 3, padding=1), nn.ReLU(), nn.Conv2d(made, made, 3, padding=1), nn.ReLU())
    return nn.Sequential(*layers)


def test_a_u_net_by_hand():
    plain = sum(out * made * (k / 2 + k - 1 + 1) for out, k, made in CONVOLUTIONS)
    products = [read * k for read, _, k in UPWARDS]
    # An addition less than products for each output, and one for its bias.
    upwards = sum(m / 2 + m - out + out for m, (_, out, _) in zip(products, UPWARDS, strict=True))
    assert products == [131_072, 131_072]
    found = rows(UNet())
    assert score(found, "imt-2022").ops == plain + upwards == 9_621_504
    assert sum(op.macs for op in found) == sum(out * k * made for out, k, made in CONVOLUTIONS) + 2 * 131_072


@pytest.mark.parametrize(("bias", "ops"), [(False, 128 / 2 + 128 - 64), (True, 128 / 2 + 128)])
def test_one_of_stride_2_by_hand(bias, ops):
    # 2 × 2 × 2 inputs, each in 2 × 2 products for 4 channels; 4 channels of 4 × 4 outputs.
    (op,) = rows_of(nn.ConvTranspose2d(2, 4, 2, 2, bias=bias), 2, 2, 2)
    assert score([op], "imt-2022").ops == ops
    assert score([op], "micronet-2019").ops == ops
    assert score([op], "imt-2025").ops == 128


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2),
    st.booleans(), st.integers(1, 2),
)  # fmt: skip
def test_the_products_are_those_that_are_executed(kernel, stride, groups, read, made, bias, dilation):
    layer = nn.ConvTranspose2d(groups * read, groups * made, kernel, stride, 0, 0, groups, bias, dilation)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1)
        ones = torch.ones(1, groups * read, 4, 4)
        outputs = layer(ones).numel()
        products = int(layer(ones).sum()) - bias * outputs
    (op,) = rows_of(layer, groups * read, 4, 4)
    (predicted,) = outline(nn.Sequential(layer).to("meta"), (1, groups * read, 4, 4)).ops
    assert op.macs == products
    assert op.arithmetic == predicted.arithmetic
    half = products / 2 + max(products - outputs, 0) + bias * outputs
    assert score([op], "imt-2022").ops == score([op], "micronet-2019").ops == half


def rows_of(layer, *sizes):
    return record(nn.Sequential(layer), torch.rand(1, *sizes))
