"""Known figures of tiny networks: parameters, MACs and int8 imt-2022 scores."""

from typing import Any

import pytest

from searcher.config.recipe import Quantize
from searcher.costs.scores import score
from searcher.models import build
from tests.helpers.tiny import parameters, predicted


# To the digit: the published MACs (by how many digits they are given) and scores of ResNets.
@pytest.mark.parametrize(
    ("depth", "params", "macs", "value"),
    [(1, 19_218, 3_170_624, 0.0057), (2, 43_634, 6_709_568, 0.0122), (3, 68_050, 10_248_512, 0.0186)],
)
def test_resnets_of_width_8(depth: int, params: int, macs: int, value: float) -> None:
    ops = predicted("tiny_resnet", {"depths": [depth] * 3}, Quantize())
    assert (sum(op.params for op in ops), sum(op.macs for op in ops)) == (params, macs)
    assert round(score(ops, "imt-2022").value, 4) == value


def test_a_resnet_behind_an_early_stride() -> None:
    args = {"widths": [16, 32, 56], "depths": [2, 2, 2], "stem_stride": 2, "projection": True}
    ops = predicted("tiny_resnet", args)
    assert (sum(op.params for op in ops), sum(op.macs for op in ops)) == (146_618, 6_209_072)


# MACs to the third digit. Published members have a layer norm over all channels of a block, here each
# depthwise kernel has a batch norm that folds into it, and what is left as it is has none: 1 to 1.5 % fewer
# parameters, and less than 0.0002 of the score.
@pytest.mark.parametrize(
    ("args", "params", "macs", "dense", "half"),
    [
        ({"widths": [24, 40]}, 28_034, 3.18e6, 0.0062, 0.0055),
        ({"widths": [24, 48]}, 35_446, 3.63e6, None, 0.0064),
        ({"widths": [28, 56]}, 46_616, 4.77e6, None, 0.0084),
        ({"widths": [32, 64]}, 59_290, 6.06e6, 0.0119, 0.0106),
        ({"widths": [16, 28], "depths": [2, 3], "stem_stride": 1}, 13_664, 5.39e6, None, 0.0087),
    ],
)
def test_gated_networks(
    args: dict[str, Any], params: int, macs: float, dense: float | None, half: float
) -> None:
    ops = predicted("gated", args | {"kernels": [1, 3, 7, 7]}, Quantize())
    assert sum(op.params for op in ops) == pytest.approx(params, rel=0.015)
    assert sum(op.macs for op in ops) == pytest.approx(macs, rel=0.002)
    found = score(ops, "imt-2022")
    charged = 0.5 * sum(op.weights for op in ops) * 8 / 32 / 5_586_981
    assert dense is None or found.value == pytest.approx(dense, abs=2e-4)
    assert found.value - charged == pytest.approx(half, abs=2e-4)


def test_inverted_residuals() -> None:
    """Published are 57,398 parameters, 2.77 M MACs and 0.0071, without the depths that give them."""
    ops = predicted("inverted", {}, Quantize())
    assert (sum(op.params for op in ops), sum(op.macs for op in ops)) == (57_422, 2_773_392)
    assert score(ops, "imt-2022").value == pytest.approx(0.0071, abs=1e-4)


def test_the_parameters_of_a_gated_block_by_hand() -> None:
    model = build("gated", {"widths": [8], "depths": [1], "norms": "none"}, in_channels=3, classes=10)
    mixer, pair, back = 25 * 8 + 8, 2 * (8 * 8 + 8), 8 * 8 + 8
    assert parameters(model.get_submodule("stage1")) == mixer + pair + back
    normed = build("gated", {"widths": [8], "depths": [1]}, in_channels=3, classes=10)
    assert parameters(normed.get_submodule("stage1")) == mixer + 8 + pair + back
