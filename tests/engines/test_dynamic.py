"""Dynamic int8: known answers, what is executed, counted, predicted, stored, exported and refused."""

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from pydantic import ValidationError
from torch import Tensor, nn

from searcher import tasks
from searcher.compression.engines import dynamic, kernels, weights
from searcher.compression.engines.dynamic import DynamicLinear
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.stages import runner
from searcher.compression.training import Run
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.costs.counting.executed import walk
from searcher.costs.scores import VARIANTS
from searcher.costs.shapes.outline import outline
from searcher.deploy import onnx
from searcher.deploy.agreement import agreement
from searcher.errors import SearcherError, TrialError
from tests.helpers.networks import net

ASKED = Quantize(dynamic=True)
IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Small(nn.Module):
    """Patches, a layer that runs twice, a transformer's block and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.twice = nn.Linear(8, 8, bias=False)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.hidden = nn.Linear(8, 16)
        self.head = nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = self.block(self.twice(self.twice(x))).mean(1)
        return self.head(torch.relu(self.hidden(x)))


LAYERS = ["twice", "block.linear1", "block.linear2", "hidden", "head"]


def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def converted(model: nn.Module, asked: Quantize = ASKED) -> Network:
    return Network(model, *dynamic.convert(model, IMAGES, asked))


def layer_of(rows: list[list[float]], bias: list[float] | None = None) -> DynamicLinear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    with kernels.quiet():
        return DynamicLinear(layer, "channel", kernels.LARGEST_NARROW_CODE)


def test_a_layer_by_hand() -> None:
    # Codes of weights: 64 and -32 in steps of 1/64, 64 and 64 of 2/64. Of inputs from -1 to 254: steps of 1.
    layer = layer_of([[1.0, -0.5], [2.0, 2.0]], [10.0, 0.0])
    assert torch.equal(layer.weight().int_repr(), torch.tensor([[64, -32], [64, 64]], dtype=torch.int8))
    found = layer(torch.tensor([[-1.0, 254.0], [0.4, 100.0]]))
    assert found.flatten().tolist() == pytest.approx([-1 - 127 + 10, 506, -50 + 10, 200], abs=1e-4)


def test_the_scale_is_that_of_the_whole_batch() -> None:
    layer, x = layer_of([[1.0]]), torch.tensor([[0.4], [255.0]])
    assert float(layer(x)[0]) == 0  # rounded to steps of one
    assert float(layer(x[:1])[0]) == pytest.approx(0.4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9), st.floats(1e-3, 1e3))
def test_every_layer_is_exact(seed: int, inputs: int, outputs: int, size: float) -> None:
    made = torch.Generator().manual_seed(seed)
    linear = nn.Linear(inputs, outputs)
    largest = kernels.use().largest_weight
    weight = torch.randn(outputs, inputs, generator=made)
    linear.weight.data = weight
    with kernels.quiet():
        layer = DynamicLinear(linear, "channel", largest)
    x = size * torch.randn(5, inputs, generator=made)
    wanted = dynamic.exact(layer, x)
    # A value between two codes may be rounded either way.
    step = float(x.max().clamp(min=0) - x.min().clamp(max=0)) / 255
    room = step * float(layer.weight().dequantize().abs().max())
    assert float((layer(x) - wanted).abs().max()) <= room + 1e-4 * float(wanted.abs().max())
    off = (layer.weight().dequantize() - weight).abs().max()
    assert float(off) <= float(weight.abs().max()) / largest / 2 * (1 + 1e-5)


def test_one_scale_for_a_tensor() -> None:
    made = converted(small(), Quantize(dynamic=True, weights_per="tensor"))
    head: Any = made.executed.get_submodule("head")
    assert len(set(head.weight().q_per_channel_scales().tolist())) == 1


def test_linear_layers_alone_are_in_int8_and_exact() -> None:
    made = converted(small())
    found = [name for name, m in made.executed.named_modules() if isinstance(m, DynamicLinear)]
    assert sorted(found) == sorted(LAYERS)
    assert made.execution is not None
    assert made.execution.fidelity.compared == len(LAYERS)
    assert made.execution.fidelity.steps < 0.5
    with torch.no_grad():
        assert float((made.executed(IMAGES) - made.architecture(IMAGES)).abs().max()) < 0.05


@pytest.mark.parametrize("exclude", [{}, {"block": 32, "head": 16}], ids=["all", "kept out"])
def test_predicted_is_counted(exclude: dict[str, int]) -> None:
    model = small()
    asked = Quantize.model_validate({"dynamic": True, "exclude": exclude})
    counted = walk(model, converted(model, asked).executed, IMAGES[:1])
    with torch.device("meta"):
        ops = outline(meta := Small().eval(), (1, 3, 16, 16)).ops
    predicted = dynamic.quantized(ops, dict(meta.named_modules()), asked.exclude)
    reconcile(predicted, counted, Recipe(model=Model(name="resnet20"), stages=(asked,)))
    widths = {
        op.name: (op.weight_bits, op.activation_bits, op.output_bits)
        for op in counted
        if op.kind in ("conv", "linear") and not op.name.endswith(")")
    }
    int8 = dict.fromkeys(LAYERS, (8, 8, 32))
    if exclude:
        int8 |= {f"block.linear{n}": (32, 32, 32) for n in (1, 2)} | {"head": (16, 16, 16)}
    assert widths == {"patches": (32, 32, 32), **int8}


def test_a_resnet_has_one_layer_of_8_bits_by_hand() -> None:
    recipe = Recipe(model=Model(name="resnet20"), stages=(ASKED,))
    ops = predict(recipe, (3, 32, 32), 10).ops
    assert ops is not None
    assert [op.name for op in ops if op.bits == 8] == ["linear"]
    plain = predict(Recipe(model=recipe.model, stages=()), (3, 32, 32), 10).ops
    assert plain is not None
    # 640 weights and 10 biases; the variant charges both by the width of the layer.
    params = VARIANTS["imt-2022"].params
    assert sum(map(params, plain)) - sum(map(params, ops)) == 650 * 3 / 4


def test_stored_bitwise(tmp_path: Path) -> None:
    made = converted(small())
    weights.save(made.executed, tmp_path / "model.safetensors")
    stored = weights.load(tmp_path / "model.safetensors")
    codes = {name for name, tensor in stored.items() if tensor.dtype == torch.int8}
    assert codes == {f"{name}.weight" for name in LAYERS}
    for name in LAYERS:
        layer: Any = made.executed.get_submodule(name)
        scales = stored[f"{name}.weight_scale"]
        assert torch.equal(stored[f"{name}.weight"] * scales[:, None], layer.weight().dequantize())
        assert not {f"{name}.scale", f"{name}.zero_point"} & set(stored)
        assert layer.bias() is None or torch.equal(stored[f"{name}.bias"], layer.bias())


def test_a_state_is_given_back_bitwise() -> None:
    one, other = converted(small()).executed, converted(Small().eval()).executed
    assert not torch.equal(one(IMAGES), other(IMAGES))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(IMAGES), other(IMAGES))


@pytest.mark.parametrize("exclude", [{}, {"hidden": 16, "head": 32}], ids=["all", "kept out"])
def test_exported_is_executed(exclude: dict[str, int], tmp_path: Path) -> None:
    made = converted(small(), Quantize.model_validate({"dynamic": True, "exclude": exclude}))
    onnx.export(made, IMAGES, tmp_path / "model.onnx")
    found = onnx.read_back(tmp_path / "model.onnx")
    kept = {"hidden": "bfloat16", "head": "float32"} if exclude else {}
    assert {name: found[name] for name in LAYERS} == {**dict.fromkeys(LAYERS, "int8"), **kept}
    assert found["patches"] == "float32"
    runtime = onnx.Runtime(tmp_path / "model.onnx")
    with torch.no_grad():
        for images in (IMAGES, IMAGES[:1]):
            near = 1e-2 if exclude else 1e-5
            assert float((made.executed(images) - runtime(images)).abs().max()) < near


class Mixed(nn.Module):
    """A recurrent layer, a layer of two names, and one whose weight is taken as an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(48, 16, batch_first=True)
        self.hidden, self.taken = nn.Linear(16, 10), nn.Linear(10, 10)
        self.again = self.hidden

    def forward(self, images: Tensor) -> Tensor:
        x, _ = self.recurrent(images.permute(0, 2, 1, 3).flatten(2))
        return nn.functional.linear(self.hidden(x[:, -1]), self.taken.weight)


def test_what_has_no_kernel_stays_in_float32_and_is_counted_so() -> None:
    model = Mixed().eval()
    made = converted(model)
    assert made.executed.get_submodule("again") is made.executed.get_submodule("hidden")
    rows = [op for op in walk(model, made.executed, IMAGES[:1]) if op.weights]
    assert [(op.name, op.weight_bits) for op in rows] == [
        ("recurrent", 32),
        ("recurrent", 32),
        ("hidden", 8),
        ("linear()", 32),
    ]


def test_a_file_of_other_layers_is_told(tmp_path: Path) -> None:
    made = converted(small())
    onnx.export(made, IMAGES, tmp_path / "model.onnx")
    with pytest.raises(TrialError, match="patches is float32, not int8"):
        onnx.verify(tmp_path / "model.onnx", {}, made.architecture)


def test_the_stage_on_a_task(tmp_path: Path) -> None:
    task = tasks.entry("digits").load()
    recipe = Recipe(model=Model(name="resnet20"), stages=(ASKED,))
    made = run_recipe(recipe, Run(task, 1, 0, torch.device("cpu"), lambda *_: None))
    predicted = predict(recipe, task.image, task.classes).ops
    assert predicted is not None
    reconcile(predicted, walk(made.architecture, made.executed, task.example()), recipe)
    onnx.export(made, task.example(), tmp_path / "model.onnx")
    assert agreement(made, onnx.Runtime(tmp_path / "model.onnx"), task, task.validation).holds


def test_what_has_no_linear_layer_is_refused_before_and_after() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    with pytest.raises(TrialError, match=r"is of linear layers, and this network runs none$"):
        dynamic.convert(model, IMAGES, ASKED)
    detector = Recipe(model=Model(name="yolo", args={"size": "n", "width": 0.125}), stages=(ASKED,))
    with pytest.raises(TrialError, match=r"is of linear layers, and this network runs none$"):
        predict(detector, (3, 64, 64), 3)


def test_all_kept_out_is_refused() -> None:
    asked = Quantize(dynamic=True, exclude={"linear": 32})
    with pytest.raises(TrialError, match="runs none that is not kept out"):
        dynamic.convert(net("resnet20"), IMAGES, asked)
    with pytest.raises(SearcherError, match=r"lineer.*linear"):
        dynamic.convert(net("resnet20"), IMAGES, Quantize(dynamic=True, exclude={"lineer": 32}))


STATIC = {
    "observer": "histogram",
    "percentile": 99.0,
    "calibration_images": 8,
    "calibration_share": 0.1,
    "calibration_split": "validation",
    "weight_bits": 4,
    "activation_bits": 4,
    "bits": {"linear": {"weights": 4}},
    "equalize": True,
    "bias_correction": True,
}


@pytest.mark.parametrize("name", STATIC)
def test_what_is_of_static_int8_is_refused(name: str) -> None:
    with pytest.raises(
        ValidationError, match=f"calibrates nothing and has codes of 8 bits: it takes no {name}"
    ):
        Quantize.model_validate({"dynamic": True, name: STATIC[name]})
    observer = {"observer": "percentile"} if name == "percentile" else {}
    Quantize.model_validate({**observer, name: STATIC[name]})


def test_every_other_field_goes_with_it() -> None:
    assert set(Quantize.model_fields) - set(STATIC) == {"kind", "exclude", "weights_per", "dynamic"}


def test_digests_of_before_stay() -> None:
    assert "dynamic" not in Quantize().model_dump()
    assert Quantize(dynamic=True).words() == "dynamic int8 of linear layers"
    assert runner(ASKED).untrained(ASKED) == ASKED
