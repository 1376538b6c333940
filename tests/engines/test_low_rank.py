"""Factors in the place of layers: at full rank what was there, below it what a truncated spectrum says."""

import copy
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from searcher.compression.engines.low_rank import by_energy, by_ratio, factorize, factorized
from searcher.errors import SearcherError, TrialError
from tests.helpers.random_nets import SIZES, networks

METHODS = ("tucker", "spatial")


def of_spectrum(*values: float) -> torch.Tensor:
    """A square matrix with these singular values."""
    generator = torch.Generator().manual_seed(0)
    size = len(values)
    left, right = (torch.linalg.qr(torch.randn(size, size, generator=generator))[0] for _ in range(2))
    return left @ torch.diag(torch.tensor(values)) @ right


def with_weight(layer, weight):
    with torch.no_grad():
        layer.weight.copy_(weight.view(layer.weight.shape))
    return layer


@st.composite
def convolutions(draw):
    same = draw(st.booleans())
    side = st.sampled_from((1, 3)) if same else st.integers(1, 4)
    kernel = (draw(side), draw(side))
    stride = (1, 1) if same else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    return nn.Conv2d(
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
        kernel,
        stride,
        "same" if same else (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        draw(st.integers(1, 2)),
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(("zeros", "reflect", "circular", "replicate"))),
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions(), st.sampled_from(METHODS))
def test_a_convolution_at_full_rank_is_what_it_was(layer, method):
    x = torch.randn(2, layer.in_channels, 11, 9)
    with torch.no_grad():
        expected, found = layer(x), factorized(layer, by_ratio(1.0), method)(x)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 9), st.integers(1, 9), st.booleans(), st.integers(0, 2**16))
def test_a_linear_layer_at_full_rank_is_what_it_was(read, made, bias, seed):
    torch.manual_seed(seed)
    layer, x = nn.Linear(read, made, bias=bias), torch.randn(3, 2, read)
    assert torch.allclose(factorized(layer, by_ratio(1.0), "tucker")(x), layer(x), atol=1e-5)


def test_a_matrix_of_rank_1_is_recovered_at_rank_1():
    layer = with_weight(nn.Linear(6, 5), torch.outer(torch.arange(1.0, 6), torch.randn(6)))
    factors = factorized(layer, by_ratio(0.01), "tucker")
    assert [tuple(factor.weight.shape) for factor in factors] == [(1, 6), (5, 1)]
    x = torch.randn(4, 6)
    assert torch.allclose(factors(x), layer(x), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_separable_kernel_is_recovered_at_rank_1(method):
    rows, columns, read, made = (torch.randn(size) for size in (3, 3, 4, 6))
    layer = nn.Conv2d(4, 6, 3, 2, padding=1)
    with_weight(layer, torch.einsum("o,i,k,l->oikl", made, read, rows, columns).contiguous())
    factors, x = factorized(layer, by_ratio(0.01), method), torch.randn(2, 4, 9, 9)
    kernels = {"tucker": [(1, 4, 1, 1), (1, 1, 3, 3), (6, 1, 1, 1)], "spatial": [(1, 4, 3, 1), (6, 1, 1, 3)]}
    assert [tuple(factor.weight.shape) for factor in factors] == kernels[method]
    assert torch.allclose(factors(x), layer(x), atol=1e-5)


def test_a_truncated_matrix_is_off_by_the_spectrum_that_was_left_out():
    layer = with_weight(nn.Linear(4, 4, bias=False), of_spectrum(4.0, 3.0, 2.0, 1.0))
    factors = factorized(layer, by_ratio(0.5), "tucker")
    product = factors.expand.weight @ factors.reduce.weight
    assert float((product - layer.weight).detach().norm()) == pytest.approx(math.sqrt(2**2 + 1**2), rel=1e-5)


# 16, 9, 4 and 1 of 30.
@pytest.mark.parametrize(
    ("energy", "rank"), [(0.1, 1), (0.53, 1), (0.54, 2), (0.83, 2), (0.84, 3), (0.96, 3), (0.97, 4)]
)
def test_the_least_rank_that_keeps_a_share_of_the_energy(energy, rank):
    assert by_energy(energy)(of_spectrum(4.0, 3.0, 2.0, 1.0)) == rank


def test_a_matrix_of_zeros_has_rank_1():
    assert by_energy(0.9)(torch.zeros(4, 3)) == 1


@pytest.mark.parametrize(("ratio", "rank"), [(0.01, 1), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_a_rank_by_ratio_needs_no_values(ratio, rank):
    assert by_ratio(ratio)(torch.empty(9, 4, device="meta")) == rank


def net():
    convolutions = (nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3, 2, groups=16), nn.Conv2d(16, 12, 1))
    return nn.Sequential(*convolutions, nn.ReLU(), nn.Flatten(), nn.Linear(12 * 9, 24), nn.Linear(24, 1))


def test_what_would_get_no_smaller_is_left_alone():
    found = net()
    assert factorize(found, by_ratio(0.5), "tucker") == ["0", "2", "5"]
    assert type(found[1]) is nn.Conv2d
    assert type(found[6]) is nn.Linear  # of rank 1 as it is
    assert found(torch.rand(2, 3, 9, 9)).shape == (2, 1)


def test_only_the_named_layers():
    model = nn.Sequential(net()[:4], net()[4:])
    assert factorize(model, by_ratio(0.25), "tucker", ["1.5"]) == ["1.5"]
    assert factorize(model, by_ratio(0.25), "tucker", ["0"]) == ["0.0", "0.2"]


def test_a_stride_that_makes_it_dearer_is_left_alone():
    # It has fewer weights with either stride, but its first factor runs at four times the positions.
    at_rank_49 = by_ratio(0.77)
    assert factorize(nn.Sequential(nn.Conv2d(64, 64, 3)), at_rank_49, "tucker") == ["0"]
    with pytest.raises(TrialError, match="no layer gets smaller"):
        factorize(nn.Sequential(nn.Conv2d(64, 64, 3, 2)), at_rank_49, "tucker")


def test_shared_weights_and_shared_modules():
    tied = nn.ModuleDict({"a": nn.Linear(8, 8), "b": nn.Linear(8, 8), "c": nn.Linear(8, 8)})
    tied["b"].weight = tied["a"].weight
    tied["d"] = tied["c"]
    assert factorize(tied, by_ratio(0.2), "tucker") == ["c", "d"]
    assert tied["c"] is tied["d"]


def test_a_name_that_is_no_module_and_nothing_to_do():
    with pytest.raises(SearcherError, match=r"no module named 'layer'; did you mean layer1"):
        factorize(nn.ModuleDict({"layer1": nn.Linear(4, 4)}), by_ratio(0.5), "tucker", ["layer"])
    with pytest.raises(TrialError, match="low rank: no layer in 0 gets smaller: a lower rank is needed"):
        factorize(nn.Sequential(nn.Linear(4, 4), nn.Linear(40, 40)), by_ratio(0.9), "tucker", ["0"])


def test_a_network_that_reads_a_weight_itself_is_refused():
    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return x @ self.layer.weight

    with pytest.raises(TrialError, match=r"low rank cannot factorize this network: AttributeError: .*layer"):
        factorize(Reads(), by_ratio(0.25), "tucker", example=torch.rand(1, 8))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(networks(), st.sampled_from(METHODS))
def test_random_networks_hardly_change_at_nearly_all_of_the_energy(network, method):
    x = torch.randn(SIZES)
    with torch.no_grad():
        before = copy.deepcopy(network)(x)
        for layer in [m for m in network.modules() if type(m) in (nn.Conv2d, nn.Linear)]:
            u, values, v = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
            values[1:] *= 1e-6  # all but of rank 1, so that factors are smaller and lose nothing
            layer.weight.copy_((u @ torch.diag(values) @ v).view(layer.weight.shape))
        expected = network(x)
    assume(not torch.equal(before, expected))
    try:
        factorize(network, by_energy(0.99), method)
    except TrialError:
        assume(False)
    with torch.no_grad():
        assert torch.allclose(network(x), expected, atol=1e-3, rtol=1e-3)
