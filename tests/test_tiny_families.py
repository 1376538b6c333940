"""Families of tiny networks: the laws that hold for all of their members."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from searcher.compression.engines import fidelity, fx
from searcher.compression.engines.folding import fold_norms
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.config.recipe import Model, PruneChannels, Quantize, QuantizeAware, Recipe, Stage
from searcher.costs.counting.executed import walk
from searcher.deploy import onnx
from searcher.errors import SearcherError
from searcher.models import build
from searcher.ui.commands.target import Target
from tests.helpers.engines import ENGINES
from tests.helpers.tiny import IMAGE, parameters, predicted

LAYERS = {"conv", "linear", "batch_norm"}
FREE = {
    "relu",
    "clamp",
    "hardswish",
    "silu",
    "hardsigmoid",
    "add",
    "mul",
    "avg_pool",
    "mean",
    "pad",
    "cat",
    "copy",
}
"""What imt-2022 charges nothing for and the families have: no product in them is with a learned weight."""

MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet": ("tiny_resnet", {}),
    "resnet, norms of blocks": ("tiny_resnet", {"norms": "block", "stem_stride": 2}),
    "resnet, projected": (
        "tiny_resnet",
        {"projection": True, "squeeze_excite": True, "activation": "hardswish"},
    ),
    "resnet without norms": ("tiny_resnet", {"norms": "none", "activation": "relu6", "projection": True}),
    "inverted": ("inverted", {}),
    "inverted, squeezed": (
        "inverted",
        {"norms": "block", "squeeze_excite": True, "activation": "hardswish", "kernel": 3},
    ),
    "inverted without expansion": ("inverted", {"norms": "none", "activation": "relu6", "expansion": 1}),
    "gated": ("gated", {}),
    "gated, mixed": ("gated", {"kernels": [1, 3, 7, 7]}),
    "gated patches": (
        "gated",
        {"norms": "all", "squeeze_excite": True, "activation": "relu", "stem_kernel": 4, "stem_stride": 4},
    ),
    "gated without norms": ("gated", {"norms": "none", "kernels": [3, 5], "expansion": 1.5}),
    "gated, silu": ("gated", {"activation": "silu"}),
}

every_member = pytest.mark.parametrize("member", MEMBERS)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def images(count: int = 8) -> Tensor:
    return torch.randn(count, *IMAGE, generator=torch.Generator().manual_seed(1))


def net(member: str) -> nn.Module:
    """The member as training may leave its norms."""
    name, args = MEMBERS[member]
    model = build(name, args, in_channels=3, classes=10)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2)
    return model.eval()


def recipe(member: str, *stages: Stage) -> Recipe:
    name, args = MEMBERS[member]
    return Recipe(model=Model(name=name, args=args), stages=stages)


activations = st.sampled_from(["relu", "relu6", "hardswish", "silu"])
norms = st.sampled_from(["all", "block", "none"])
three = st.lists(st.integers(1, 2), min_size=3, max_size=3)
any_member = st.one_of(
    st.tuples(
        st.just("tiny_resnet"),
        st.fixed_dictionaries(
            {
                "widths": st.lists(st.integers(4, 12), min_size=3, max_size=3).map(sorted),
                "depths": three,
                "stem_stride": st.integers(1, 2),
                "activation": activations,
                "norms": norms,
                "projection": st.booleans(),
                "squeeze_excite": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("inverted"),
        st.fixed_dictionaries(
            {
                "stem": st.integers(4, 12),
                "widths": st.lists(st.integers(4, 12), min_size=3, max_size=3),
                "depths": three,
                "strides": three,
                "expansion": st.integers(1, 4),
                "kernel": st.sampled_from([3, 5]),
                "activation": activations,
                "norms": norms,
                "squeeze_excite": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just("gated"),
        st.fixed_dictionaries(
            {
                "widths": st.lists(st.sampled_from([4, 8, 12]), min_size=2, max_size=2),
                "depths": st.lists(st.integers(1, 2), min_size=2, max_size=2),
                "stem_kernel": st.sampled_from([3, 5]),
                "stem_stride": st.integers(1, 2),
                "kernels": st.sampled_from([[3], [5, 7], [1, 3, 7, 7]]),
                "activation": activations,
                "norms": norms,
                "squeeze_excite": st.booleans(),
            }
        ),
    ),
)


@settings(max_examples=40, deadline=None)
@given(any_member)
def test_every_learned_weight_is_charged(drawn: tuple[str, dict[str, Any]]) -> None:
    name, args = drawn
    model = build(name, args, in_channels=3, classes=10).eval()
    ops = walk(model, model, images(1))
    rows = [op for op in ops if op.kind in LAYERS]
    assert sum(op.params for op in rows) == parameters(model) == sum(op.params for op in ops)
    assert {op.kind for op in ops} - LAYERS <= FREE
    assert all(op.macs > 0 for op in rows if op.kind != "batch_norm")
    assert all(op.arithmetic.multiplies >= op.weights for op in rows if op.kind != "batch_norm")
    reconcile(predicted(name, args), ops, Recipe(model=Model(name=name, args=args), stages=()))


EIGHT = {"weights": 8, "activations": 8}
QUANTIZED: list[Stage] = [
    Quantize(calibration_images=32),
    Quantize(calibration_images=32, weight_bits=4, activation_bits=4),
    QuantizeAware.model_validate(
        {"weight_bits": 4, "activation_bits": 4, "bits": {"stem": EIGHT, "classifier": EIGHT}}
    ),
]


@every_member
@pytest.mark.parametrize("stage", QUANTIZED, ids=lambda stage: stage.words())
def test_predicted_is_counted_and_all_but_silu_runs_in_integers(member: str, stage: Stage) -> None:
    asked = recipe(member, stage)
    network = Target("", asked, IMAGE, 10).network()
    found = walk(network.architecture, network.executed, images(1))
    prediction = predict(asked, IMAGE, 10).ops
    assert prediction is not None
    reconcile(prediction, found, asked)
    floating = {op.kind for op in found if op.bits == 32}
    assert floating - {"batch_norm"} <= ({"silu", "pad"} if "silu" in member else {"pad"})


@every_member
def test_executed_is_the_reference_and_exported_is_executed(member: str, tmp_path: Path) -> None:
    model = net(member)
    prepared = fx.prepare(model, [images()], {})
    converted = fx.convert(model, prepared)
    execution = fx.execution(converted)
    assert execution is not None
    assert execution.fidelity.decibels >= fidelity.MIN_DB
    assert execution.fidelity.steps <= fidelity.MAX_STEPS
    onnx.export_int8(prepared, images(1), tmp_path / "net.onnx")
    with torch.no_grad():
        assert fidelity.decibels(model(images()), converted(images())) > 20
        assert fidelity.decibels(converted(images()), onnx.Runtime(tmp_path / "net.onnx")(images())) > 25


@every_member
def test_all_norms_fold(member: str) -> None:
    model = net(member)
    folded = copy.deepcopy(model)
    count = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert len(fold_norms(folded, images(1))) == count
    assert (count == 0) == ("without" in member)
    with torch.no_grad():
        torch.testing.assert_close(folded(images()), model(images()), rtol=1e-3, atol=1e-4)


@every_member
@pytest.mark.parametrize("engine", ENGINES)
def test_channels_are_pruned_as_predicted(member: str, engine: Any) -> None:
    asked = recipe(member, PruneChannels(ratio=0.4, engine=engine, share=0))
    whole = parameters(net(member))
    kernels = MEMBERS[member][1].get("kernels", [5])
    if len(kernels) > 1 and (engine == "nni" or 1 not in kernels):
        with pytest.raises(SearcherError, match=r"(NNI|torch-pruning) cannot prune this network"):
            Target("", asked, IMAGE, 10).network()
        return
    network = Target("", asked, IMAGE, 10).network()
    found = walk(network.architecture, network.executed, images(1))
    assert sum(op.params for op in found) < 0.75 * whole
    prediction = predict(asked, IMAGE, 10).ops
    assert (prediction is None) == (MEMBERS[member][0] == "gated" or "without expansion" in member)
    if prediction:
        reconcile(prediction, found, asked)


@pytest.mark.parametrize("family", ["tiny_resnet", "inverted", "gated"])
def test_a_deep_network_without_norms_keeps_its_signal(family: str) -> None:
    depth = {"depths": [6, 6, 6] if family != "gated" else [8, 8]}
    more = {"widths": [16, 16, 16], "strides": [1, 2, 2]} if family == "inverted" else {}
    model = build(family, depth | more | {"norms": "none"}, in_channels=3, classes=10).eval()
    stages = nn.Sequential(*(child for name, child in model.named_children() if name.startswith("stage")))
    with torch.no_grad():
        before = model.get_submodule("stem")(images())
        after = stages(before)
    assert 0.3 < float(after.std() / before.std()) < 4


@pytest.mark.parametrize(
    ("family", "args", "message"),
    [
        ("tiny_resnet", {"widths": [8, 16]}, "2 widths, 3 depths: expected as many of each"),
        ("inverted", {"strides": [1, 2]}, "2 strides"),
        ("gated", {"norms": "some"}, "norms 'some', expected all, block or none"),
        ("gated", {"kernels": [3, 3, 3, 3, 3]}, "24 channels cannot be shared by 5 kernels"),
        ("gated", {"kernels": [4]}, "no kernel of 4 at a stride of 1"),
        ("gated", {"stem_kernel": 2, "stem_stride": 4}, "no kernel of 2 at a stride of 4"),
        ("inverted", {"activation": "gelu"}, "activation 'gelu', expected one of relu, relu6"),
    ],
)
def test_what_does_not_fit_is_refused(family: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(SearcherError, match=message):
        build(family, args, in_channels=3, classes=10)
