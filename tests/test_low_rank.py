"""The stage that factorizes: predicted, stored, pruned further, quantized and exported like any network."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from searcher import tasks
from searcher.compression.network import floating
from searcher.compression.pipeline import run_recipe
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.compression.stages import runner
from searcher.compression.store import Store
from searcher.compression.training import Run
from searcher.config.recipe import (
    Distill,
    LowRank,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    Recipe,
    Stage,
    Teaching,
    Train,
)
from searcher.costs.counting.executed import walk
from searcher.deploy import onnx
from searcher.deploy.agreement import agreement
from searcher.errors import SearcherError, TrialError
from searcher.ui.commands.target import Target

IMAGE = (3, 32, 32)
HALF = LowRank(ratio=0.5, share=0.0)
MODELS = {
    "resnet20": Model(name="resnet20"),
    "densenet": Model(name="densenet", args={"growth_rate": 8, "blocks": [2, 2]}),
    "grouped": Model(name="densenet", args={"growth_rate": 4, "groups_1x1": 2, "blocks": [1, 2]}),
    "mobilenet": Model(name="mobilenet_v2", args={"width": 0.25}),
    "flat": Model(name="tests.helpers.nets:of_one_size"),
}


def check(*stages: Stage, model: Model = MODELS["resnet20"]) -> nn.Module:
    """What is predicted is what is counted; returns what is executed."""
    recipe = Recipe(model=model, stages=stages)
    torch.manual_seed(0)
    network = Target("", recipe, IMAGE, 10).network()
    counted = walk(network.architecture, network.executed, torch.rand(1, *IMAGE))
    predicted = predict(recipe, IMAGE, 10).ops
    assert predicted is not None
    reconcile(predicted, counted, recipe)
    return network.executed


@pytest.mark.parametrize("method", ["tucker", "spatial"])
@pytest.mark.parametrize("model", [m for m in MODELS if m != "mobilenet"])
def test_predicted_is_counted(model: str, method: str):
    made = check(HALF.model_copy(update={"method": method}), model=MODELS[model])
    assert any(name.endswith(("reduce", "vertical")) for name, _ in made.named_modules())


@pytest.mark.parametrize(
    "stages",
    [
        (HALF, Quantize()),
        (HALF, Quantize(exclude={"layer2": 32, "layer1.0.conv1": 16})),
        (HALF, PruneWeights(sparsity=0.5, scope="local"), Quantize()),
        (HALF, PruneChannels(ratio=0.3)),
        (HALF, PruneChannels(ratio=0.3, engine="nni"), Quantize()),
        (PruneChannels(ratio=0.3), HALF, Quantize()),
        (PruneChannels(ratio=0.3, engine="nni"), HALF),
        (PruneChannels(ratio=0.4, ratios={"layer1": 0.2}, round_to=4, steps=2), HALF),
        (HALF, PruneWeights(sparsity=0.5, pattern="4x1", scope="local")),
        (PruneChannels(ratio=0.3), HALF, PruneChannels(ratio=0.3), HALF),
        (LowRank(ratio=0.6, layers=("layer1",)), LowRank(ratio=0.3, layers=("layer3",))),
    ],
    ids=lambda stages: " ".join(stage.kind for stage in stages),
)
def test_predicted_is_counted_with_other_stages(stages: tuple[Stage, ...]):
    check(*stages)


@pytest.mark.parametrize("model", ["densenet", "grouped", "flat"])
def test_factorized_after_pruning(model: str):
    check(PruneChannels(ratio=0.3), HALF, model=MODELS[model])


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.floats(0.05, 0.7), st.sampled_from(("tucker", "spatial")), st.sampled_from(("resnet20", "densenet"))
)
def test_predicted_is_counted_at_any_ratio(ratio: float, method: str, model: str):
    check(LowRank.model_validate({"ratio": ratio, "method": method}), model=MODELS[model])


def test_depthwise_convolutions_are_left_alone():
    made = check(HALF, model=MODELS["mobilenet"])
    whole = check(model=MODELS["mobilenet"])
    depthwise = [
        [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
        for net in (made, whole)
    ]
    assert depthwise[0] == depthwise[1] != []


def test_ranks_by_energy_are_not_predicted():
    recipe = Recipe(model=MODELS["resnet20"], stages=(LowRank(energy=0.9),))
    prediction = predict(recipe, IMAGE, 10)
    assert prediction.ops is None
    assert prediction.reason == "which ranks keep a share of the energy hangs on the weights"
    assert runner(recipe.stages[0]).tolerance_of(recipe.stages[0]) == 0.1
    assert runner(HALF).tolerance_of(HALF) == 1e-6


@pytest.mark.parametrize("energy", [None, 0.9])
def test_what_cannot_be_meant_is_known_before_training(energy: float | None):
    rule = {"ratio": None if energy else 0.5, "energy": energy}
    recipe = Recipe(
        model=MODELS["resnet20"], stages=(LowRank.model_validate(rule | {"layers": ["layer11"]}),)
    )
    with pytest.raises(SearcherError, match="no module named 'layer11'; did you mean layer1"):
        predict(recipe, IMAGE, 10)
    high = Recipe(model=MODELS["resnet20"], stages=(LowRank(ratio=0.99),))
    with pytest.raises(TrialError, match="low rank: no layer gets smaller: a lower rank is needed"):
        predict(high, IMAGE, 10)


@pytest.mark.parametrize("given", [{}, {"ratio": 0.5, "energy": 0.9}])
def test_one_rule_decides_the_ranks(given: dict[str, float]):
    with pytest.raises(ValidationError, match="expected either ratio or energy"):
        LowRank.model_validate(given)


def test_words():
    assert HALF.words() == "50% of the rank (tucker)"
    by_energy = LowRank(energy=0.95, method="spatial", layers=("layer1", "fc"))
    assert by_energy.words() == "95.0% of the energy of layer1 fc (spatial)"


def test_it_is_taught_with_techniques():
    stage = LowRank(ratio=0.5, teaching=Teaching(attention={"dense2": "dense2"}), ema=0.9, lr=0.01)
    assert stage.words() == "50% of the rank (tucker), averaged 0.9, distilled from itself, attention"
    alone = stage.model_copy(update={"teaching": None})
    made = [run_recipe(Recipe(model=NET, stages=(s,)), a_run(None)).architecture for s in (stage, alone)]
    taught, plain = (net.state_dict() for net in made)
    assert taught.keys() == plain.keys()
    assert not all(torch.equal(taught[name], plain[name]) for name in taught)


def a_run(store: Store | None, device: str = "cpu") -> Run:
    task = tasks.entry("digits").load().trained_on(200)
    return Run(task, 1, 0, torch.device(device), lambda *_: None, store=store)


NET = Model(name="densenet", args={"growth_rate": 8, "blocks": [1, 1, 1, 1]})


@pytest.mark.parametrize(
    "rule", [{"ratio": 0.5}, {"energy": 0.7}, {"ratio": 0.5, "method": "spatial"}], ids=str
)
def test_the_store_gives_back_every_bit(tmp_path: Path, rule: dict[str, object]):
    torch.set_num_threads(1)
    stage = LowRank.model_validate(rule | {"lr": 0.01})
    stages = (Train(lr=0.05), stage, Distill(teacher=NET, teacher_training=Train(lr=0.05), lr=0.01))
    recipe = Recipe(model=NET, stages=(*stages, PruneWeights(sparsity=0.3, lr=0.01), Quantize()))
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made = [run_recipe(recipe, a_run(store)) for store in (None, Store(tmp_path), Store(tmp_path))]
    with torch.no_grad():
        first, *others = [network.executed(images) for network in made]
    assert len(Store(tmp_path).entries()) == 4  # the teacher is what the first stage makes
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("rule", [{"ratio": 0.5}, {"energy": 0.7}], ids=str)
def test_one_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path, rule: dict[str, float]):
    torch.set_num_threads(1)
    stages = (Train(lr=0.05), LowRank.model_validate(rule | {"lr": 0.01, "share": 3}))
    recipe = Recipe(model=NET, stages=stages)

    def stop(stage: str, epoch: int, *rest: object) -> None:
        if stage == "low rank" and epoch == 2:
            raise KeyboardInterrupt

    seen: list[tuple[str, int]] = []
    run = a_run(Store(tmp_path / "stopped"))
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, replace(run, report=stop))
    again = run_recipe(recipe, replace(run, report=lambda stage, epoch, *_: seen.append((stage, epoch))))
    undisturbed = run_recipe(recipe, a_run(Store(tmp_path / "undisturbed")))
    assert seen == [("low rank", 3)]
    state = undisturbed.executed.state_dict()
    assert state.keys() == again.executed.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.executed.state_dict().items())


@pytest.mark.parametrize("exclude", [{}, {"dense2": 32, "classifier": 32}], ids=str)
def test_exported_is_executed(tmp_path: Path, exclude: dict[str, int]):
    run = a_run(None)
    stages = (Train(lr=0.05), LowRank(ratio=0.5, lr=0.01), Quantize.model_validate({"exclude": exclude}))
    network = run_recipe(Recipe(model=NET, stages=stages), run)
    assert network.prepared is not None
    example, split = run.task.example(), run.task.validation
    onnx.export_float(network.architecture, example, tmp_path / "float.onnx")
    onnx.export_int8(network.prepared, example, tmp_path / "int8.onnx")
    onnx.verify(tmp_path / "int8.onnx", exclude, network.architecture)
    whole = agreement(floating(network.architecture), onnx.Runtime(tmp_path / "float.onnx"), run.task, split)
    coded = agreement(network, onnx.Runtime(tmp_path / "int8.onnx"), run.task, split)
    assert whole.equal_share == 1
    assert whole.holds
    assert coded.holds
