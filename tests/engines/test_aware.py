"""Learned step sizes, folding, and training with quantization in the network."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from searcher import tasks
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.engines import fx, fx_aware, lsq
from searcher.compression.engines.folding import fold_norms
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.recipe import Model, PruneWeights, Quantize, QuantizeAware, Recipe, Train
from searcher.costs.counting.executed import walk
from searcher.deploy import onnx
from searcher.errors import TrialError
from tests.helpers.networks import images, net

CPU = torch.device("cpu")
MODEL = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 2, 1]})
AWARE = QuantizeAware.model_validate(
    {"weight_bits": 4, "activation_bits": 4, "bits": {"stem": {}}, "calibration_images": 64}
)
RECIPE = Recipe(model=MODEL, stages=(Train(), AWARE))


def a_run(**given: Any) -> Run:
    task = tasks.entry("digits").load().trained_on(300)
    return Run(task, 2, 3, CPU, lambda *point: None, **given)


def outputs(network: Network, run: Run) -> Tensor:
    with torch.no_grad():
        return network.executed(run.task.normalise(run.task.validation.images[:64]))


@pytest.mark.parametrize(
    ("value", "gradient"),
    [(0.3, 0 - 0.3), (0.7, 1 - 0.7), (2.4, 2 - 2.4), (9.0, 3), (-9.0, -3), (-0.6, -1 + 0.6)],
)
def test_the_gradient_of_the_step(value: float, gradient: float) -> None:
    step = torch.ones((), requires_grad=True)
    lsq.quantized(torch.tensor([value]), step, -3, 3, 12).backward()
    assert step.grad is not None
    assert float(step.grad) == pytest.approx(gradient / 6, abs=1e-6)  # √(12 · 3)


def test_the_gradient_of_the_values_ends_where_the_codes_do() -> None:
    values = torch.tensor([-9.0, -0.4, 2.2, 9.0], requires_grad=True)
    lsq.quantized(values, torch.ones(()), -3, 3, 1).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 0]


@given(st.integers(2, 8), st.integers(0, 99))
def test_a_weight_has_as_many_values_a_channel_as_its_codes(bits: int, seed: int) -> None:
    weight = torch.randn(4, 300, generator=torch.Generator().manual_seed(seed))
    largest = 2 ** (bits - 1) - 1
    with torch.no_grad():
        found = lsq.LearnedWeight(weight, largest, "channel")(weight)
    assert all(len(row.unique()) <= 2 * largest + 1 for row in found)


@given(st.integers(0, 99))
def test_the_first_step_is_no_worse_than_that_of_the_whole_range(seed: int) -> None:
    rows = torch.randn(3, 200, generator=torch.Generator().manual_seed(seed))
    whole = rows.abs().amax(1) / 7

    def error(step: Tensor) -> Tensor:
        return ((rows / step[:, None]).round().clamp(-7, 7) * step[:, None] - rows).square().sum(1)

    assert (error(lsq.best_step(rows, 7)) <= error(whole) * (1 + 1e-6)).all()


@pytest.mark.parametrize("name", ["densenet", "resnet20", "mobilenet_v2"])
def test_folded_norms_leave_the_outputs(name: str) -> None:
    model = net(name)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 5)
    folded = copy.deepcopy(model)
    assert fold_norms(folded, images(1))
    with torch.no_grad():
        wanted = model(images())
        assert (folded(images()) - wanted).abs().max() <= 1e-5 * max(1, wanted.abs().max())
    again = copy.deepcopy(folded)
    fold_norms(again, images(1))
    for one, other in zip(folded.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_trainable_graph_computes_what_is_executed() -> None:
    model = net("resnet20")
    fold_norms(model, images(1))
    prepared = fx.prepare(model, [images(16)], {}, Quantize(weight_bits=4, activation_bits=4))
    graph = fx_aware.trainable(prepared)
    executed = fx.convert(model, fx_aware.with_steps(prepared, fx_aware.steps(graph)))
    with torch.no_grad():
        wanted, found = graph.eval()(images(16)), executed(images(16))
    assert fx.fidelity.decibels(wanted, found) > 25


def test_predicted_as_counted_and_exported_as_executed(tmp_path: Path) -> None:
    run = a_run()
    network = run_recipe(RECIPE, run)
    found = walk(network.architecture, network.executed, run.task.example())
    predicted = predict(RECIPE, run.task.image, run.task.classes).ops
    assert predicted
    reconcile(predicted, found, RECIPE)
    widths = {op.name: op.weight_bits for op in found if op.weight_bits}
    assert widths.pop("stem") == 8
    assert set(widths.values()) == {4}
    assert network.prepared
    onnx.export_int8(network.prepared, run.task.example(), tmp_path / "net.onnx")
    given_images = run.task.normalise(run.task.validation.images[:64])
    exported = onnx.Runtime(tmp_path / "net.onnx")(given_images)
    assert fx.fidelity.decibels(outputs(network, run), exported) > 15


def test_what_comes_from_the_store_is_what_was_trained(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    again: list[tuple[object, ...]] = []
    plain = run_recipe(RECIPE, a_run())
    first = run_recipe(RECIPE, a_run(store=Store(tmp_path)))
    second = run_recipe(RECIPE, a_run(store=Store(tmp_path), replay=lambda *point: again.append(point)))
    for other in (first, second):
        assert torch.equal(outputs(plain, a_run()), outputs(other, a_run()))
        for one, two in zip(
            plain.architecture.state_dict().values(), other.architecture.state_dict().values(), strict=True
        ):
            assert torch.equal(one, two)
    assert [point[:2] for point in again if point[0] == "quantize aware"] == [
        ("quantize aware", 1),
        ("quantize aware", 2),
    ]


def test_killed_and_resumed_is_undisturbed(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = outputs(run_recipe(RECIPE, a_run()), a_run())

    def stop(stage: str, epoch: int, *rest: object) -> None:
        if (stage, epoch) == ("quantize aware", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(RECIPE, replace(a_run(checkpoints=Checkpoints(tmp_path)), report=stop))
    resumed = run_recipe(RECIPE, a_run(checkpoints=Checkpoints(tmp_path)))
    assert torch.equal(whole, outputs(resumed, a_run()))


def test_zeros_stay_zero() -> None:
    recipe = Recipe(model=MODEL, stages=(PruneWeights(sparsity=0.5, share=0.5), AWARE))
    network = run_recipe(recipe, a_run())
    layers = [m for m in network.architecture.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    zeros = sum(int((layer.weight == 0).sum()) for layer in layers)
    assert zeros >= 0.49 * sum(layer.weight.numel() for layer in layers)


def test_a_weight_that_is_made_of_others_is_named() -> None:
    first = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
    model = nn.Sequential(first, nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    graph = fx_aware.trainable(fx.prepare(model, [images()], {}, AWARE.model_copy(update={"bits": {}})))
    with pytest.raises(TrialError, match="quantize aware: 0 makes its weight of other parameters"):
        fx_aware.write_back(graph, model, {})


def test_a_network_is_quantized_once() -> None:
    with pytest.raises(ValueError, match="quantized once"):
        Recipe(model=MODEL, stages=(AWARE, Quantize()))
