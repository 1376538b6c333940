"""The imt-2022 score: published figures, recomputed from the layers' shapes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from searcher.compression.engines.fx import quantize
from searcher.costs.counting.executed import walk
from searcher.costs.op import Op
from searcher.costs.scores import VARIANTS, Score
from searcher.costs.scores import score as score_by
from searcher.errors import SearcherError, TrialError
from searcher.models import densenet, resnet18

GROUPED = {"growth_rate": 4, "groups_1x1": 2, "groups_3x3": 2}
DEPTHWISE = {"growth_rate": 4, "groups_1x1": 2, "depthwise": True}
KEPT = {"dense1": 16, "dense2": 16, "trans3": 16, "stem": 16}
IMAGE = torch.zeros(1, 3, 32, 32)


def score(ops: list[Op], freebie_bits: int | None = None) -> Score:
    return score_by(ops, "imt-2022", freebie_bits=freebie_bits)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def rows(model: nn.Module) -> list[Op]:
    return walk(model, model, IMAGE)


def sparse(ops: list[Op], sparsity: float) -> list[Op]:
    """The published sparsities are of all parameters."""
    return [replace(op, nonzero=op.params * (1 - sparsity), biases=0) for op in ops]


def widths(ops: list[Op], bits: Callable[[Op], int]) -> list[Op]:
    return [replace(op, bits=bits(op), activation_bits=bits(op)) for op in ops]


@pytest.mark.parametrize(
    ("args", "params", "macs", "ops", "value"),
    [
        ({"growth_rate": 3}, 69_262, 7_958_976, 13_110_806, 0.021912),
        (GROUPED, 70_922, 7_935_232, 13_576_054, 0.022618),
        (DEPTHWISE, 66_282, 7_054_592, 12_222_070, 0.020580),
        ({"growth_rate": 4}, 119_146, 14_075_136, None, None),
    ],
)
def test_densenet(args, params, macs, ops, value):
    found = rows(densenet(**args))
    assert sum(op.params for op in found) == sum(op.nonzero + op.biases for op in found) == params
    assert sum(op.macs for op in found) == macs
    if ops is not None:
        assert score(found).ops == ops
        assert score(found).value == pytest.approx(value, abs=5e-7)


@pytest.mark.parametrize(
    ("sparsity", "bits", "ops", "value"),
    [
        (0.3017, 16, 13_576_054, 0.020703),
        (0.0, 8, 11_592_246, 0.017067),
        (0.651, 32, 17_543_670, 0.025457),
    ],
)
def test_densenet_with_groups(sparsity, bits, ops, value):
    found = sparse(widths(rows(densenet(**GROUPED)), lambda op: bits), sparsity)
    result = score(found, freebie_bits=bits)
    assert result.ops == ops
    assert result.value == pytest.approx(value, abs=5e-7)


def test_resnet18_is_the_reference():
    found = [
        replace(op, nonzero=op.weights) for op in rows(resnet18())
    ]  # an initial weight in five million is exactly zero
    result = score(found)
    assert sum(op.params for op in found) == 11_173_962
    assert sum(op.macs for op in found) == 555_422_720
    assert (result.params, result.ops) == (5_586_981, 834_362_870)
    assert result.value == pytest.approx(2.0, abs=1e-7)


def test_mixed_widths_from_rows():
    found = widths(rows(densenet(**GROUPED)), lambda op: KEPT.get(op.name.split(".")[0], 8))
    result = score(sparse(found, 0.651))
    assert result.ops == 12_896_822
    assert result.ops / VARIANTS["imt-2022"].reference.ops == pytest.approx(0.015457, abs=5e-7)
    assert result.params == pytest.approx(22_746.5 * 0.349)


@pytest.mark.parametrize(("exclude", "ops"), [(KEPT, 12_896_822), ({}, 11_592_246)])
def test_widths_from_the_executed_graph(exclude, ops):
    model = densenet(**GROUPED)
    found = walk(model, quantize(model, [torch.rand(2, 3, 32, 32)], exclude), IMAGE)
    assert score(found).ops == ops
    assert sum(op.params for op in found) == 70_922


def test_an_unquantized_network_is_scored_at_16_bits_unless_said_otherwise():
    model = densenet(**GROUPED, blocks=(1, 1))
    full, half = rows(model), walk(model, model.bfloat16(), IMAGE.bfloat16())
    assert {op.bits for op in half} == {16}
    assert score(full) == score(half) == score(full, freebie_bits=16)
    assert score(full, freebie_bits=32).value > score(full).value


def test_zeros_are_free_but_biases_are_not():
    model = densenet(blocks=(2, 2))
    kept = 0
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter[torch.rand_like(parameter) < 0.65] = 0
            kept += int(parameter.count_nonzero()) if parameter.dim() > 1 else parameter.numel()
    found = rows(model)
    assert sum(op.nonzero + op.biases for op in found) == kept < sum(op.params for op in found)
    assert score(found).params == kept / 2
    assert score(found).ops == score(rows(densenet(blocks=(2, 2)))).ops


def test_zeros_are_those_of_the_architecture_not_of_the_codes():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    with torch.no_grad():
        model[0].weight[:, :, 0, 0] = 1e-6
        model[0].weight[:, :, 1, 1] = 0
    images = torch.rand(2, 1, 8, 8)
    converted = quantize(model, [images], {})
    assert int((converted.get_submodule("0").weight().int_repr() == 0).sum()) >= 4
    assert walk(model, converted, images)[0].nonzero == 18 - 2


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return self.conv(self.conv(x))


def test_a_module_called_twice_has_its_parameters_once():
    first, second = walk(Twice(), Twice(), torch.rand(1, 2, 4, 4))
    assert (first.params, second.params) == (38, 0)
    assert first.macs == second.macs == 32 * 18


def test_a_module_without_a_width_is_named():
    model, other = densenet(blocks=(1, 1)), densenet(blocks=(1, 1))
    other.trans1.conv = nn.Sequential(other.trans1.conv)
    with pytest.raises(TrialError, match=r"^trans1.conv: no operation of that name"):
        walk(model, other, IMAGE)


def test_the_model_is_left_as_it_was():
    model = densenet(blocks=(1, 1))
    model.stem.eval()
    before = [module.training for module in model.modules()]
    rows(model)
    assert [module.training for module in model.modules()] == before
    assert not any(module._forward_hooks for module in model.modules())
    assert int(model.norm.num_batches_tracked) == 0


def test_an_unknown_variant_is_refused():
    with pytest.raises(SearcherError, match="did you mean imt-20"):
        score_by([], "imt-2020")
