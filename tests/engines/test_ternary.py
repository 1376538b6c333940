"""Trained ternary weights: codes, gradients, and what is counted, stored and exported of them."""

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
from searcher.compression.engines import weights
from searcher.compression.engines.fidelity import decibels
from searcher.compression.engines.ternary import TernaryWeight, codes, layers
from searcher.compression.network import Network
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.recipe import Model, Recipe, Ternary, Train
from searcher.costs.counting.executed import walk
from searcher.costs.counting.recorder import record
from searcher.costs.scores import score
from searcher.deploy import onnx
from searcher.errors import SearcherError, TrialError

CPU = torch.device("cpu")
MODEL = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 2, 1]})
RECIPE = Recipe(model=MODEL, stages=(Train(), Ternary()))


def a_run(**given_more: Any) -> Run:
    task = tasks.entry("digits").load().trained_on(300)
    return Run(task, 2, 3, CPU, lambda *point: None, **given_more)


def outputs(network: Network, run: Run) -> Tensor:
    with torch.no_grad():
        return network.executed(run.task.normalise(run.task.validation.images[:64]))


@given(st.integers(0, 99), st.floats(0.01, 0.5))
def test_codes_are_of_three_values(seed: int, threshold: float) -> None:
    weight = torch.randn(3, 50, generator=torch.Generator().manual_seed(seed))
    found = codes(weight, threshold)
    assert set(found.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal(found == 0, weight.abs() <= threshold * weight.abs().max())
    assert torch.equal(found, -codes(-weight, threshold))


def test_the_known_weight_and_its_gradients() -> None:
    weight = torch.tensor([[1.0, -0.5, 0.04, 0.3]], requires_grad=True)
    made = TernaryWeight(weight, 0.05)
    assert made.scales.tolist() == pytest.approx([0.65, 0.5])
    found = made(weight)
    assert found.tolist()[0] == pytest.approx([0.65, -0.5, 0, 0.65])
    (found * torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).sum().backward()
    assert made.scales.grad is not None
    assert made.scales.grad.tolist() == pytest.approx([1001, -10])
    assert weight.grad is not None
    assert weight.grad.tolist()[0] == pytest.approx([0.65, 5, 100, 650])


def test_predicted_as_counted_at_two_bits_saved_and_exported_as_executed(tmp_path: Path) -> None:
    run = a_run()
    network = run_recipe(RECIPE, run)
    layers = {n: m for n, m in network.executed.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    values = {name: sorted(module.weight.unique().tolist()) for name, module in layers.items()}
    assert len(values.pop("stem")) > 3
    assert len(values.pop("classifier")) > 3
    assert all(len(three) == 3 and three[0] < three[1] == 0 < three[2] for three in values.values())
    found = walk(network.architecture, network.executed, run.task.example())
    predicted = predict(RECIPE, run.task.image, run.task.classes).ops
    assert predicted
    reconcile(predicted, found, RECIPE)
    assert score(predicted, "imt-2022") == score(found, "imt-2022")
    assert {op.name for op in found if op.weight_bits == 2} == set(values)
    weights.save(network.executed, tmp_path / "net.safetensors")
    saved = weights.load(tmp_path / "net.safetensors")
    assert all(torch.equal(saved[f"{name}.weight"], module.weight) for name, module in layers.items())
    onnx.export_float(network.executed, run.task.example(), tmp_path / "net.onnx")
    exported = onnx.Runtime(tmp_path / "net.onnx")(run.task.normalise(run.task.validation.images[:64]))
    assert decibels(outputs(network, run), exported) > 80


def test_what_comes_from_the_store_is_what_was_trained(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plain = outputs(run_recipe(RECIPE, a_run()), a_run())
    for _ in range(2):
        assert torch.equal(plain, outputs(run_recipe(RECIPE, a_run(store=Store(tmp_path))), a_run()))
    assert len(Store(tmp_path).entries()) == 2


def test_killed_and_resumed_is_undisturbed(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = outputs(run_recipe(RECIPE, a_run()), a_run())

    def stop(stage: str, epoch: int, *rest: object) -> None:
        if (stage, epoch) == ("ternary", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(RECIPE, replace(a_run(checkpoints=Checkpoints(tmp_path)), report=stop))
    resumed = run_recipe(RECIPE, a_run(checkpoints=Checkpoints(tmp_path)))
    assert torch.equal(whole, outputs(resumed, a_run()))


def test_a_weight_of_more_values_than_its_codes_is_not_counted_as_such() -> None:
    network = run_recipe(RECIPE, a_run())
    layer: Any = network.executed.get_submodule("dense1.0.conv1")
    with torch.no_grad():
        layer.weight[0, 0] += 0.1
    with pytest.raises(TrialError, match=r"dense1\.0\.conv1: its weights were to be codes of 2 bits"):
        walk(network.architecture, network.executed, a_run().task.example())


def test_a_weight_of_two_layers_stays_as_it_is() -> None:
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(5))).eval()
    model[3].weight = model[1].weight
    rows, modules = record(model, torch.rand(1, 8)), dict(model.named_modules())
    assert layers(rows, modules, ()) == ["0", "2", "4"]
    assert layers(rows, modules, None) == ["2"]
    with pytest.raises(TrialError, match="no layer is left"):
        layers(rows, modules, ("0", "2", "4"))


def test_a_module_that_is_none_and_a_network_without_a_layer() -> None:
    def recipe(*exclude: str) -> Recipe:
        return Recipe(model=MODEL, stages=(Ternary(exclude=exclude),))

    with pytest.raises(SearcherError, match="dense1"):
        predict(recipe("dnse1"), (1, 8, 8), 10)
    every = "stem", "dense1", "trans1", "dense2", "trans2", "dense3", "classifier"
    with pytest.raises(TrialError, match="no layer is left"):
        predict(recipe(*every), (1, 8, 8), 10)
