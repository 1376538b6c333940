"""ONNX files: the same scales, zero points and exclusions as the network that is executed."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import NodeProto, numpy_helper
from torch import Tensor, nn

from searcher import tasks
from searcher.compression.engines import fidelity, fx
from searcher.compression.engines.fx_observers import LeastAndLargest
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.network import Network, floating
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train
from searcher.deploy.agreement import agreement
from searcher.deploy.onnx import (
    Runtime,
    export_float,
    export_int8,
    preprocessing,
    read_back,
    verify,
)
from searcher.errors import TrialError
from searcher.models import build, densenet, resnet20
from tests.helpers.engines import ENGINES
from tests.known_answers.test_checkpoints import checkpoint

IMAGES = torch.randn(128, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SMALL = {"growth_rate": 4, "blocks": (2, 2)}
EXAMPLE = Path(__file__).parents[2] / "docs" / "onnx_example.py"
NOTES = {"mean": "[0.5, 0.4, 0.3]", "std": "[0.2, 0.3, 0.4]", "scale": "255.0"}


def pruned() -> nn.Module:
    return ENGINES["torch-pruning"](resnet20(), IMAGES[:1], 0.3, "l1")


NETS = {
    "grouped": (lambda: densenet(**SMALL, groups_1x1=2, groups_3x3=2), {}),
    "depthwise": (lambda: densenet(**SMALL, depthwise=True), {"dense1.1": 16, "classifier": 32}),
    "resnet": (resnet20, {"conv1": 32, "layer1": 16, "layer3.0": 32, "linear": 16}),
    "pruned": (pruned, {}),
}


@dataclass(frozen=True)
class Case:
    model: nn.Module
    prepared: Prepared
    executed: nn.Module
    path: Path


def warmed(model: nn.Module) -> nn.Module:
    """Batch norms with statistics of images and with weights and biases of their own."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        for _ in range(10):
            model.train()(IMAGES)
    return model.eval()


def exported(model: nn.Module, exclude: dict[str, int], path: Path, images: Tensor = IMAGES) -> Case:
    prepared = fx.prepare(model, [images], exclude)
    export_int8(prepared, images, path, NOTES)
    return Case(model, prepared, fx.convert(model, prepared), path)


@pytest.fixture(scope="module", params=NETS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    torch.manual_seed(0)
    make, exclude = NETS[request.param]
    return exported(warmed(make()), exclude, tmp_path_factory.mktemp(request.param) / "model.int8.onnx")


@dataclass(frozen=True)
class Layer:
    """A layer of a file that runs in int8: its stored numbers."""

    codes: np.ndarray
    scales: np.ndarray
    input: tuple[float, int]
    output: tuple[float, int]


def int8_layers(path: Path) -> Iterator[tuple[str, Layer]]:
    graph = onnx.load(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def quantization(node: NodeProto) -> tuple[float, int]:
        return float(tensors[node.input[1]]), int(tensors[node.input[2]])

    kinds = read_back(path)
    for node in graph.node:
        if kinds.get(node.name) == "int8":
            weight = makers[node.input[1]]
            after = readers[node.output[0]]
            after = readers[after.output[0]] if after.op_type == "Relu" else after
            assert after.op_type == "QuantizeLinear"
            codes, scales = (tensors[name] for name in weight.input[:2])
            assert not tensors[weight.input[2]].any()
            yield node.name, Layer(codes, scales, quantization(makers[node.input[0]]), quantization(after))


def inputs_of(executed: nn.Module) -> dict[str, tuple[float, int]]:
    """Scale and zero point of what each module of the executed network is given."""
    seen: dict[str, tuple[float, int]] = {}

    def note(name: str, given: Tensor) -> None:
        if given.is_quantized:
            seen[name] = given.q_scale(), given.q_zero_point()

    for name, module in executed.named_modules():
        if hasattr(module, "weight") and name:
            module.register_forward_pre_hook(lambda _, args, name=name: note(name, args[0]))
    executed(IMAGES[:1])
    return seen


def test_codes_scales_and_zero_points_are_the_executed_ones(case: Case):
    found = dict(int8_layers(case.path))
    executed = {n: m for n, m in case.executed.named_modules() if callable(getattr(m, "weight", None))}
    given = inputs_of(case.executed)
    assert found.keys() == executed.keys()
    for name, layer in found.items():
        weight = executed[name].weight()
        assert np.array_equal(layer.codes, weight.int_repr().numpy()), name
        assert np.array_equal(layer.scales, weight.q_per_channel_scales().float().numpy()), name
        assert layer.input == pytest.approx(given[name], rel=1e-6), name
        assert layer.output == pytest.approx((float(executed[name].scale), executed[name].zero_point)), name


def test_exclusions_are_the_executed_ones(case: Case):
    verify(case.path, case.prepared.exclude, case.model)
    layers = {n for n, m in case.model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert read_back(case.path).keys() == layers


def test_the_file_gives_what_is_executed_on_any_batch(case: Case):
    """Two ways of rounding half a step differ by a step now and then: far less than int8 and float differ."""
    runtime = Runtime(case.path)
    with torch.no_grad():
        wanted, unquantized = case.executed(IMAGES), case.model(IMAGES)
    found = torch.cat([runtime(batch) for batch in torch.split(IMAGES, [1, 3, 124])])
    assert float((found - wanted).norm()) <= 1.5 * float((wanted - unquantized).norm())
    assert float((found - wanted).norm() / wanted.norm()) < 0.02
    assert float((found.argmax(1) == wanted.argmax(1)).float().mean()) > 0.85


def test_int8_layers_run_on_integer_kernels(case: Case, tmp_path: Path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    onnxruntime.InferenceSession(case.path, options, providers=["CPUExecutionProvider"])
    ran = Counter(node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node)
    kinds = Counter(
        (type(module).__name__, read_back(case.path)[name])
        for name, module in case.model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    )
    assert ran["QLinearConv"] == kinds["Conv2d", "int8"]
    assert ran["QGemm"] == kinds["Linear", "int8"]


def test_the_kernels_for_processors_without_vnni_give_the_same(case: Case):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    exact = onnxruntime.InferenceSession(case.path, options, providers=["CPUExecutionProvider"])
    (found,) = exact.run(None, {"images": IMAGES.numpy()})
    assert float((torch.from_numpy(found) - Runtime(case.path)(IMAGES)).abs().max()) < 1e-5


def test_the_file_stands_alone(case: Case):
    model = onnx.load(case.path, load_external_data=False)
    assert sorted(p.name for p in case.path.parent.iterdir()) == ["model.int8.onnx"]
    assert {(o.domain, o.version) for o in model.opset_import} == {("", 20)}
    assert ([i.name for i in model.graph.input], [o.name for o in model.graph.output]) == (
        ["images"],
        ["logits"],
    )
    assert {note.key: note.value for note in model.metadata_props} == NOTES
    assert str(Path.cwd()).encode() not in case.path.read_bytes()


@pytest.mark.slow
def test_the_pruned_network_is_narrower_in_its_file(tmp_path: Path):
    whole, model, path = warmed(resnet20()), warmed(pruned()), tmp_path / "model.onnx"
    export_float(model, IMAGES, path)
    with torch.no_grad():
        torch.testing.assert_close(Runtime(path)(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    stored = {tensor.name: list(tensor.dims) for tensor in onnx.load(path).graph.initializer}
    narrowed = {n: p.shape for n, p in model.named_parameters() if p.shape != whole.get_parameter(n).shape}
    assert "layer3.1.conv1.weight" in narrowed
    assert all(stored[name] == list(shape) for name, shape in narrowed.items())


def test_exporting_leaves_what_was_prepared(case: Case):
    with torch.no_grad():
        again = fx.convert(case.model, case.prepared)(IMAGES[:8])
        assert torch.equal(again, case.executed(IMAGES[:8]))


def test_the_example_prints_the_classes(case: Case, tmp_path: Path):
    pixels = np.random.default_rng(3).integers(0, 256, (5, 3, 16, 16), np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
    wanted = Runtime(case.path)((torch.from_numpy(pixels) / 255 - mean) / std).argmax(1)
    for given, count in (([tmp_path / "images.npy"], 5), ([], 4)):
        command = [sys.executable, "-W", "error", EXAMPLE, case.path, *given]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
        assert len(printed.split()) == count
        if given:
            assert [int(word) for word in printed.split()] == wanted.tolist()


def test_the_example_is_short_and_needs_no_torch():
    lines = EXAMPLE.read_text().splitlines()
    assert len(lines) <= 20
    imported = [line.split()[1] for line in lines if line.startswith(("import ", "from "))]
    assert imported == ["json", "sys", "pathlib", "numpy", "onnxruntime"]


@pytest.fixture(scope="module")
def resnets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    torch.manual_seed(0)
    model = warmed(resnet20())
    folder = tmp_path_factory.mktemp("resnets")
    widths = {"8": {}, "16": {"layer3": 16}, "32": {"layer3": 32}}
    return {name: exported(model, exclude, folder / f"{name}.onnx") for name, exclude in widths.items()}


@pytest.mark.slow
def test_a_float_file_is_the_network(resnets: dict[str, Case], tmp_path: Path):
    model, path = resnets["8"].model, tmp_path / "model.onnx"
    export_float(model, IMAGES, path)
    with torch.no_grad():
        torch.testing.assert_close(Runtime(path)(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    stored = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    assert all(np.array_equal(stored[name], p.detach()) for name, p in model.named_parameters())
    assert set(read_back(path).values()) == {"float32"}
    assert model.conv1.weight.is_contiguous()
    assert resnets["8"].path.stat().st_size <= 0.30 * path.stat().st_size


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.light, self.dark = nn.Linear(4, 5), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x).mean((2, 3))
        return self.light(y) if x.mean() > 0 else self.dark(y)


def test_a_forward_that_branches_on_values_branches_in_its_file(tmp_path: Path, capsys):
    torch.manual_seed(0)
    model, path = Branching().eval(), tmp_path / "model.onnx"
    export_float(model, IMAGES, path, NOTES)
    runtime = Runtime(path)
    for images in (IMAGES.abs(), -IMAGES.abs(), IMAGES[:1].abs(), -IMAGES[:3].abs()):
        with torch.no_grad():
            torch.testing.assert_close(runtime(images), model(images), rtol=1e-4, atol=1e-6)
    assert runtime.image == (3, 16, 16)
    assert capsys.readouterr().err == ""


class Unscriptable(Branching):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {True: self.light, False: self.dark}[bool(x.mean() > 0)](self.body(x).mean((2, 3)))


def test_a_forward_that_nothing_exports_is_said(tmp_path: Path):
    with pytest.raises(TrialError, match="onnx: Unscriptable cannot be exported: "):
        export_float(Unscriptable().eval(), IMAGES, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_layers_at_16_bits_are_stored_in_16_bits(resnets: dict[str, Case]):
    inside = [m for m in resnets["16"].model.layer3.modules() if isinstance(m, nn.Conv2d)]
    saved = resnets["32"].path.stat().st_size - resnets["16"].path.stat().st_size
    weights = sum(conv.weight.numel() for conv in inside)
    assert 0.99 * 2 * weights <= saved <= 2 * weights
    stored = {t.name: t for t in onnx.load(resnets["16"].path).graph.initializer}
    halves = [t for t in stored.values() if t.data_type == onnx.TensorProto.BFLOAT16]
    assert len(halves) == len(inside)
    wanted = {conv.weight.detach().bfloat16().view(torch.int16).numpy().tobytes() for conv in inside}
    assert {t.raw_data for t in halves} == wanted


@pytest.mark.parametrize(
    ("file", "exclude", "message"),
    [
        ("8", {"layer3.0": 16}, r"layer3\.0\.conv1 is int8, not bfloat16; layer3\.0\.conv2 is int8, not"),
        ("16", {}, r"layer3\.0\.conv1 is bfloat16, not int8"),
        ("32", {"layer3": 16}, r"layer3\.2\.conv2 is float32, not bfloat16"),
        ("16", {"layer3": 16, "linear": 32}, r"asked: linear is int8, not float32$"),
    ],
)
def test_a_file_that_is_not_as_asked_is_refused(resnets, file, exclude, message):
    with pytest.raises(TrialError, match=message):
        verify(resnets[file].path, exclude, resnets[file].model)


def test_a_layer_that_is_not_in_the_file_is_missed(resnets: dict[str, Case]):
    with pytest.raises(TrialError, match=r"stem is missing, not int8"):
        verify(resnets["8"].path, {}, densenet(**SMALL))


@pytest.mark.parametrize("weight", [0.0, 1e-5])
def test_the_bias_of_a_channel_that_is_all_but_pruned_does_not_overflow(weight: float, tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1))
    with torch.no_grad():
        model[0].weight[2], model[0].bias[2] = weight, 50
        model[2].weight[1], model[2].bias[1] = weight, -50
    made = exported(model.eval(), {}, tmp_path / "model.onnx")
    with torch.no_grad():
        wanted = made.executed(IMAGES)
    step = float(made.executed.get_submodule("2").scale)
    assert float((Runtime(made.path)(IMAGES) - wanted).abs().max()) <= 2 * step


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.relu(self.conv(x))).mean((2, 3))


def test_a_layer_that_is_called_twice_is_one_layer(tmp_path: Path):
    made = exported(Twice().eval(), {}, tmp_path / "model.onnx")
    assert read_back(made.path) == {"conv": "int8"}


def test_agreement_counts_what_both_predict():
    class Always(nn.Module):
        def __init__(self, classes: list[int]) -> None:
            super().__init__()
            self.classes = classes

        def forward(self, images: Tensor) -> Tensor:
            chosen = torch.tensor(self.classes).repeat(len(images))[: len(images)]
            return nn.functional.one_hot(chosen, 10).float()

    digits = tasks.entry("digits").load()
    threes = float((digits.test.labels == 3).double().mean())
    found = agreement(floating(Always([3])), Always([3, 10 - 1, 3, 3]), digits, digits.test)
    assert found.quality == pytest.approx(threes)
    assert found.equal_share == 0.75
    assert found.quality_onnx < 1


@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.slow
def test_a_file_of_other_weights_does_not_hold(kind: str, tmp_path: Path):
    digits = tasks.entry("digits").load()
    calibration = [digits.normalise(digits.train.images[:64])]
    one, other = (warmed_on(calibration[0], seed) for seed in (0, 1))
    prepared = [fx.prepare(net, calibration, {}) for net in (one, other)]
    network = floating(one) if kind == "float" else Network(one, fx.convert(one, prepared[0]), prepared[0])
    held = []
    for net, ready in zip((one, other), prepared, strict=True):
        path = tmp_path / "model.onnx"
        if kind == "float":
            export_float(net, digits.example(), path)
        else:
            export_int8(ready, digits.example(), path)
        held.append(agreement(network, Runtime(path), digits, digits.test))
    assert [found.holds for found in held] == [True, False]
    assert held[0].equal_share > 0.95 > 0.5 > held[1].equal_share


def test_outputs_that_are_far_apart_do_not_hold_whatever_they_predict():
    digits = tasks.entry("digits").load()

    class Threes(nn.Module):
        def __init__(self, least: float) -> None:
            super().__init__()
            self.least = least

        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.full((len(images),), 3), 10).float() + self.least

    found = agreement(floating(Threes(0.0)), Threes(5.0), digits, digits.test)
    assert found.equal_share == 1
    assert not found.holds


def warmed_on(images: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = build("densenet", {"growth_rate": 4, "blocks": [1, 1, 1, 1]}, in_channels=1, classes=10)
    with torch.no_grad():
        for _ in range(10):
            net.train()(images)
    return net.eval()


def test_a_search_imports_none_of_it():
    modules = "searcher.ui.cli, searcher.searching.loop, searcher.execution.worker"
    program = f"import sys, {modules}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"onnx", "onnxruntime", "onnxscript"} & set(printed.stdout.split())


@pytest.fixture(scope="module")
def trained_on_digits() -> tuple[nn.Module, Run]:
    torch.manual_seed(0)
    run = Run(tasks.entry("digits").load(), 12, 0, torch.device("cpu"), lambda *_: None)
    net = build("densenet", {"growth_rate": 6, "blocks": [1, 2, 2, 1]}, in_channels=1, classes=10)
    return fit(net, run, Train(), "train"), run


@pytest.mark.slow
@pytest.mark.parametrize("exclude", [{}, {"dense2": 16, "classifier": 32}], ids=str)
def test_a_trained_densenet_agrees_on_digits(
    trained_on_digits: tuple[nn.Module, Run], exclude: dict[str, int], tmp_path: Path
):
    model, run = trained_on_digits
    task, path = run.task, tmp_path / "model.onnx"
    prepared = fx.prepare(model, [task.normalise(task.train.images[:256])], exclude)
    export_int8(prepared, task.example(), path, preprocessing(task))
    verify(path, exclude, model)
    runtime = Runtime(path, threads=1)
    network = Network(model, fx.convert(model, prepared), prepared)
    found = agreement(network, runtime, task, task.test)
    print(exclude, found)
    assert found.equal_share >= 0.99
    assert found.quality_onnx == pytest.approx(found.quality, abs=0.01)
    assert task.top1(runtime, task.test) == found.quality_onnx


@pytest.mark.slow
def test_the_published_resnet20_keeps_its_accuracy(real_data: Path, tmp_path: Path):
    model = checkpoint(real_data, "resnet20")
    task, path = tasks.entry("cifar10").load(), tmp_path / "model.onnx"
    prepared = fx.prepare(model, [task.normalise(task.train.images[:512])], {})
    export_int8(prepared, task.example(), path, preprocessing(task))
    network = Network(model, fx.convert(model, prepared), prepared)
    found = agreement(network, Runtime(path, threads=1), task, task.test)
    print(found)
    assert found.equal_share >= 0.99
    assert found.quality_onnx == pytest.approx(0.9173, abs=0.005)


def test_modules_may_be_called_as_short_names_are(tmp_path):
    """Files name what is no layer by a number."""
    model = nn.Sequential()
    for i in range(8):
        model.add_module(f"n{i}", nn.Conv2d(3, 3, 3, padding=1) if i % 2 else nn.ReLU())
        model.add_module(f"t{i}", nn.Conv2d(3, 3, 1))
    export_int8(fx.prepare(model.eval(), [IMAGES[:8]], {}), IMAGES, tmp_path / "named.onnx")
    assert Runtime(tmp_path / "named.onnx")(IMAGES[:2]).shape == (2, 3, 16, 16)


def test_a_file_has_the_biases_that_are_executed(tmp_path: Path):
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2304, 10),
    )
    found = exported(nn.Sequential(*layers).eval(), {}, tmp_path / "biased.onnx")
    with torch.no_grad():
        assert torch.equal(Runtime(found.path)(IMAGES), found.executed(IMAGES))


@pytest.mark.parametrize("channels", [4, 16])
@pytest.mark.parametrize("seed", range(3))
def test_means_of_four_codes_are_rounded_alike_in_a_file(channels: int, seed: int, tmp_path: Path):
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, channels, 15), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(channels, 10)
    model = nn.Sequential(*layers).eval()
    found = exported(model, {}, tmp_path / "means.onnx")
    with torch.no_grad():
        assert torch.equal(Runtime(found.path)(IMAGES), found.executed(IMAGES))


@hypothesis.given(low=st.floats(-100, 0), high=st.floats(0, 100))
def test_a_zero_point_is_even_and_the_range_keeps_its_ends(low: float, high: float):
    observer = LeastAndLargest(dtype=torch.quint8)
    observer(torch.tensor([low, high]))
    scale, zero_point = (float(one) for one in observer.calculate_qparams())
    assert zero_point % 2 == 0
    assert 0 <= zero_point <= 255
    ends = torch.quantize_per_tensor(torch.tensor([low, high]), scale, int(zero_point), torch.quint8)
    assert (ends.dequantize() - torch.tensor([low, high])).abs().max() <= 0.5001 * scale + 1e-6


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x)) + x / 3)


def test_a_file_rounds_to_bfloat16_where_the_network_does(tmp_path: Path):
    torch.manual_seed(0)
    body = nn.Sequential(Sum(), Sum(), Sum(), nn.Flatten(), nn.Linear(2048, 10))
    model = warmed(nn.Sequential(nn.Conv2d(3, 8, 1), body))
    found = exported(model, {"1": 16}, tmp_path / "rounded.onnx")
    with torch.no_grad():
        network, file = found.executed(IMAGES), Runtime(found.path)(IMAGES)
    assert fidelity.decibels(network, file) >= 60
