"""Codes of 2 to 8 bits: known answers of observers, what is executed, counted, predicted and exported."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from searcher.compression.engines import fx as int8
from searcher.compression.engines.fx_observers import ACTIVATIONS, activations
from searcher.compression.engines.fx_reference import decomposed
from searcher.compression.engines.fx_widths import quantized
from searcher.compression.network import Network
from searcher.compression.reconcile import reconcile
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.costs.counting.executed import walk
from searcher.costs.shapes.outline import outline
from searcher.deploy import onnx
from searcher.errors import SearcherError
from searcher.models import build
from tests.helpers.networks import images, net

WIDTHS = [
    Quantize(weight_bits=4, activation_bits=4),
    Quantize(weight_bits=2),
    Quantize(activation_bits=3),
    Quantize.model_validate({"bits": {"conv1": {"weights": 5, "activations": 2}}}),
    Quantize(weight_bits=4, activation_bits=4, weights_per="tensor", observer="percentile"),
]
NETWORKS = {"densenet": {"growth_rate": 4, "blocks": [2, 2, 2]}, "resnet20": {}, "mobilenet_v2": {}}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, NETWORKS[name], in_channels=3, classes=10).eval()


def executed(model: nn.Module, asked: Quantize) -> Network:
    prepared = int8.prepare(model, [images()], dict(asked.exclude), asked)
    return Network(model, int8.convert(model, prepared), prepared)


def observed(name: str, values: Tensor, percent: float = 99.0) -> tuple[float, int]:
    observer = activations(name, percent)()
    observer(values)
    scale, zero_point = observer.calculate_qparams()
    return float(scale), int(zero_point)


def test_the_percentile_of_evenly_spaced_values() -> None:
    scale, zero_point = observed("percentile", torch.linspace(0, 1000, 100_001), 99.0)
    assert zero_point == 0
    assert scale * 255 == pytest.approx(990, rel=1e-3)


def test_the_percentile_of_all_is_the_least_and_the_largest() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert observed("percentile", values, 100.0) == pytest.approx(observed("minmax", values), rel=1e-3)


def test_a_percentile_leaves_an_outlier_out() -> None:
    values = torch.cat([torch.rand(10_000), torch.tensor([100.0])])
    assert observed("percentile", values, 99.9)[0] * 255 < 1.2
    assert observed("minmax", values)[0] * 255 == pytest.approx(100, rel=1e-4)


def test_a_moving_average_of_two_batches() -> None:
    observer = activations("moving_average", 0)()
    observer(torch.tensor([0.0, 1.0]))
    observer(torch.tensor([0.0, 2.0]))  # 1 + 0.01 · (2 - 1)
    assert float(observer.calculate_qparams()[0]) * 255 == pytest.approx(1.01)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_zero_points_of_8_bits_are_even(name: str) -> None:
    for seed in range(20):
        values = torch.randn(500, generator=torch.Generator().manual_seed(seed)) + seed / 10
        assert observed(name, values)[1] % 2 == 0


@pytest.mark.parametrize("asked", WIDTHS, ids=lambda asked: asked.words())
@pytest.mark.parametrize("name", NETWORKS)
def test_predicted_as_counted(name: str, asked: Quantize) -> None:
    if name == "mobilenet_v2" and asked.bits:
        asked = asked.model_copy(update={"bits": {"features.1": next(iter(asked.bits.values()))}})
    if name == "densenet" and asked.bits:
        asked = asked.model_copy(update={"bits": {"dense1": next(iter(asked.bits.values()))}})
    model = made(name)
    network = executed(model, asked)
    found = walk(model, network.executed, images())
    outlined = outline(copy.deepcopy(model).to("meta"), (1, 3, 32, 32))
    expected = quantized(
        dict(model.named_modules()), outlined.ops, outlined.called, {}, asked, outlined.returned
    )
    reconcile(expected, found, Recipe(model=Model(name=name), stages=()))
    layers = [op for op in found if op.weight_bits]
    assert all(op.weight_bits == asked.widths(op.name).weights for op in layers)
    assert min(op.activation_bits for op in found if op.activation_bits) == min(
        [asked.activation_bits, *(width.activations for width in asked.bits.values())]
    )


class _Codes(fx.Interpreter):
    """The largest code of each quantized activation that an operation reads."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.largest = 0

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.target is torch.clamp and isinstance(value, Tensor):
            self.largest = max(self.largest, int(value.int_repr().max()))
        return value


@pytest.mark.parametrize("bits", [2, 3, 4, 7])
def test_codes_stay_in_their_bits_beyond_what_was_calibrated(bits: int) -> None:
    asked = Quantize(weight_bits=bits, activation_bits=bits)
    network = executed(net("resnet20"), asked)
    found = _Codes(network.executed)  # type: ignore[arg-type]
    found.run(10 * images())
    assert found.largest == 2**bits - 1
    for module in network.executed.modules():
        if callable(getattr(module, "weight", None)):
            assert int(module.weight().int_repr().abs().max()) == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("asked", WIDTHS, ids=lambda asked: asked.words())
def test_executed_as_the_reference_beyond_what_was_calibrated(asked: Quantize) -> None:
    network = executed(net("resnet20"), asked)
    assert network.prepared
    wide = 3 * images(8)
    found = int8.fidelity.compare(network.executed, decomposed(network.prepared), wide)  # type: ignore[arg-type]
    assert found.steps <= 1.0 + 1e-3
    assert found.compared > 20


@pytest.mark.parametrize("asked", WIDTHS, ids=lambda asked: asked.words())
def test_exported_as_executed(asked: Quantize, tmp_path: Path) -> None:
    network = executed(net("resnet20"), asked)
    assert network.prepared
    onnx.export_int8(network.prepared, images(), tmp_path / "net.onnx")
    onnx.verify(tmp_path / "net.onnx", {}, network.architecture)
    wide = 3 * images(8)
    with torch.no_grad():
        wanted, found = decomposed(network.prepared)(wide), onnx.Runtime(tmp_path / "net.onnx")(wide)
    assert int8.fidelity.decibels(wanted, found) > 20  # an average of 3-bit codes often lies between two


def test_full_width_is_what_a_recipe_without_widths_makes() -> None:
    whole, plain = (executed(net(), asked) for asked in (Quantize(weight_bits=8), Quantize()))
    assert torch.equal(whole.executed(images()), plain.executed(images()))
    assert "weight_bits" not in Quantize(weight_bits=8).model_dump()


def test_an_excluded_block_keeps_its_width() -> None:
    asked = Quantize.model_validate({"weight_bits": 4, "activation_bits": 4, "exclude": {"layer1": 16}})
    found = walk(made("resnet20"), executed(made("resnet20"), asked).executed, images())
    assert {op.bits for op in found if op.name.startswith("layer1.")} == {16}
    assert {op.weight_bits for op in found if op.name.startswith("layer2.") and op.weight_bits} == {4}


def test_a_functional_convolution_has_its_width() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(8, 3, 3, 3))
            self.head = nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(F.conv2d(x, self.w)).mean((2, 3)))

    torch.manual_seed(0)
    model = Net().eval()
    network = executed(model, Quantize(weight_bits=4))
    found = walk(model, network.executed, images())
    assert [op.weight_bits for op in found if op.weight_bits] == [4, 4]


HALF = {"weights": 4, "activations": 4}
LAID_OUT = {
    "an image that is flattened first": (
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU(), nn.Linear(8, 4)),
        {"activation_bits": 4},
        {"1": 8, "3": 4},
    ),
    "a block before what is flattened": (
        nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)),
        {"bits": {"0": HALF, "1": HALF}},
        {"1": 4, "3": 4},
    ),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_what_lays_values_out_anew_has_no_width_of_its_own(name: str) -> None:
    torch.manual_seed(0)
    model, given, read = LAID_OUT[name]
    asked = Quantize.model_validate(given)
    found = walk(model, executed(model.eval(), asked).executed, images())
    outlined = outline(copy.deepcopy(model).to("meta"), (1, 3, 32, 32))
    modules = dict(model.named_modules())
    expected = quantized(modules, outlined.ops, outlined.called, {}, asked, outlined.returned)
    reconcile(expected, found, Recipe(model=Model(name="resnet20"), stages=()))
    assert {op.name: op.activation_bits for op in found if op.name in read} == read


@pytest.mark.parametrize(
    ("bits", "exclude", "said"),
    [({"layr1": {}}, {}, "layer1"), ({"layer1.0": {"weights": 4}}, {"layer1": 16}, "kept out by exclude")],
)
def test_widths_of_no_module(bits: Any, exclude: Any, said: str) -> None:
    asked = Quantize.model_validate({"bits": bits, "exclude": exclude})
    with pytest.raises(SearcherError, match=said):
        executed(made("resnet20"), asked)


def test_a_width_of_one_bit() -> None:
    with pytest.raises(ValueError, match="weight_bits"):
        Quantize(weight_bits=1)
