"""What is predicted of a recipe is what is counted, or the recipe is not predicted."""

import contextlib
import re

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.compression.network import Network
from searcher.compression.predict import predict
from searcher.compression.reconcile import reconcile
from searcher.config import catalog
from searcher.config.recipe import Model, PruneChannels, PruneWeights, Quantize, Recipe, Stage, Train
from searcher.costs.counting.executed import walk
from searcher.costs.scores import VARIANTS, score
from searcher.costs.shapes.outline import outline
from searcher.errors import SearcherError, TrialError
from searcher.ui.commands.target import Target
from tests.helpers import nets

IMAGE = (3, 32, 32)


def drawn(seed: int) -> Recipe:
    space = catalog.load(catalog.find("spaces", "micronet"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    recipe: Recipe = space.suggest(study.ask())
    return recipe


def small(recipe: Recipe) -> Recipe:
    """With blocks of a few layers: the same rules in a fraction of the time."""
    args = recipe.model.args | {"blocks": [1 + depth % 3 for depth in recipe.model.args["blocks"]]}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"args": args})})


def made(recipe: Recipe) -> Network:
    torch.manual_seed(0)
    return Target("", recipe, IMAGE, 10).network()


def counted(network: Network):
    return walk(network.architecture, network.executed, torch.rand(1, *IMAGE))


def check(recipe: Recipe) -> None:
    predicted, found = predict(recipe, IMAGE, 10).ops, counted(made(recipe))
    assert predicted is not None
    reconcile(predicted, found, recipe)
    pruned = [stage for stage in recipe.stages if isinstance(stage, PruneWeights)]
    widths = {op.bits for op in found}
    for name in VARIANTS:
        expected, value = score(predicted, name).value, score(found, name).value
        if not pruned:
            assert value == expected
        elif pruned[0].scope == "local" or (name.startswith("imt") and len(widths) == 1):
            assert value == pytest.approx(expected, rel=1e-3)


# Channels cannot always be removed as asked: the prediction says so before anything is trained, as the
# engine does after.
def unprunable(recipe: Recipe) -> bool:
    try:
        predict(recipe, IMAGE, 10)
    except TrialError:
        with pytest.raises(Exception, match="could remove"):
            made(recipe)
        return True
    return False


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**31))
def test_predicted_is_counted_for_random_recipes(seed):
    recipe = small(drawn(seed))
    if not unprunable(recipe):
        check(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_predicted_is_counted_for_whole_recipes(seed):
    recipe = drawn(seed)
    if not unprunable(recipe):
        check(recipe)


@pytest.mark.parametrize("number", range(8))
def test_predicted_is_counted_for_the_published_configurations(number):
    space = catalog.load(catalog.find("spaces", "micronet"))
    check(small(space.suggest(optuna.trial.FixedTrial(space.ENQUEUE[number]))))


INT8 = [{}, {"layer1": 16}, {"conv1": 16}, {"layer2": 32, "linear": 16}, {"layer3.0": 16, "bn1": 32}]
PARTS = [{"layer1.0.conv2": 16}, {"layer1.0.bn2": 32}, {"layer1.0.relu2": 16}]


# Either engine leaves a network of the same kind: what is kept out of it is tried with one of them.
@pytest.mark.parametrize(
    ("engine", "exclude"),
    [
        *((engine, exclude) for engine in (None, "torch-pruning") for exclude in INT8 + PARTS),
        ("nni", INT8[4]),
    ],
    ids=str,
)
def test_residual_networks(exclude, engine):
    pruned: list[Stage] = [PruneChannels.model_validate({"ratio": 0.4, "engine": engine})] if engine else []
    check(
        Recipe(model=Model(name="resnet20"), stages=(*pruned, Quantize.model_validate({"exclude": exclude})))
    )


RATIOS = {"layer1": 0.5, "layer2.0": 0.25}


@pytest.mark.parametrize("engine", ["torch-pruning", "nni"])
@pytest.mark.parametrize(
    "choices",
    [{"ratios": RATIOS}, {"round_to": 4}, {"steps": 3}, {"ratios": RATIOS, "round_to": 8, "steps": 2}],
    ids=str,
)
def test_ratios_multiples_and_steps_are_predicted_to_the_unit(choices, engine):
    asked = {"ratio": 0.4, "engine": engine, "criterion": "random"} | choices
    check(Recipe(model=Model(name="resnet18"), stages=(PruneChannels.model_validate(asked),)))


SPARSITIES = [
    {"layers": "convolutions"},
    {"layers": "convolutions", "scope": "local"},
    {"pattern": "4x1", "scope": "local", "sparsity": 0.37},
    {"pattern": "4x1"},
    {"pattern": "2:4"},
    {"criterion": "movement", "pattern": "4x1", "scope": "local", "steps": 2},
    {"criterion": "movement", "pattern": "2:4"},
]


@pytest.mark.parametrize("channels", [(), (PruneChannels(ratio=0.4, round_to=4),)], ids=["whole", "narrower"])
@pytest.mark.parametrize("asked", SPARSITIES, ids=str)
def test_zeros_of_every_pattern_are_predicted(asked, channels):
    stage = PruneWeights.model_validate({"sparsity": 0.5} | asked)
    args = {"growth_rate": 8, "groups_3x3": 2, "blocks": [2, 2]}
    for model in (Model(name="resnet18"), Model(name="densenet", args=args)):
        check(Recipe(model=model, stages=(*channels, stage)))


def test_a_pattern_that_fits_no_layer_is_known_before_training():
    recipe = of("two_channels", PruneWeights(sparsity=0.5, pattern="2:4"))
    with pytest.raises(
        TrialError, match="no convolution or linear layer with a multiple of 4 input channels"
    ):
        predict(recipe, IMAGE, 10)
    with pytest.raises(SearcherError, match="with a multiple of 4 input channels"):
        made(recipe)


def test_first_blocks_alone_are_pruned():
    stage = PruneChannels(ratio=0, ratios={"layer1": 0.5, "layer2": 0.5})
    recipe = Recipe(model=Model(name="resnet20"), stages=(stage,))
    check(recipe)
    whole = predict(Recipe(model=Model(name="resnet20"), stages=()), IMAGE, 10).ops
    pairs = zip(whole, predict(recipe, IMAGE, 10).ops, strict=True)
    narrower = {a.name.partition(".")[0] for a, b in pairs if a.weights != b.weights}
    assert narrower == {"layer1", "layer2"}


def test_a_global_ratio_is_not_predicted_but_is_made():
    recipe = Recipe(model=Model(name="resnet18"), stages=(PruneChannels(ratio=0.4, scope="global"),))
    prediction = predict(recipe, IMAGE, 10)
    assert prediction.ops is None
    assert "when the criterion has chosen" in prediction.reason
    full = sum(op.weights for op in predict(recipe.model_copy(update={"stages": ()}), IMAGE, 10).ops)
    assert sum(op.weights for op in counted(made(recipe))) < 0.6 * full


def test_ratios_have_to_be_of_modules():
    stages = (PruneChannels(ratio=0.1, ratios={"layer9": 0.5}),)
    with pytest.raises(SearcherError, match="no module named 'layer9'; did you mean layer"):
        predict(Recipe(model=Model(name="resnet20"), stages=stages), IMAGE, 10)


def test_pruning_twice():
    twice = (PruneChannels(ratio=0.3), PruneChannels(ratio=0.2))
    for name in ("resnet18", "densenet"):
        check(
            Recipe(
                model=Model(name=name, args={"blocks": (2, 2)} if name == "densenet" else {}), stages=twice
            )
        )


def test_too_narrow_to_prune_is_known_before_training():
    model = Model(
        name="densenet", args={"growth_rate": 2, "groups_1x1": 2, "groups_3x3": 2, "blocks": (2, 2)}
    )
    recipe = Recipe(model=model, stages=(PruneChannels(ratio=0.5),))
    assert unprunable(recipe)


def of(name: str, *stages: Stage) -> Recipe:
    return Recipe(model=Model(name=f"tests.helpers.nets:{name}"), stages=stages)


CHANNELS = [PruneChannels(ratio=0.3, share=0), PruneChannels(ratio=0.3, share=0, engine="nni")]
SPARSE = [
    PruneWeights(sparsity=0.5, share=0, scope="local"), PruneWeights(sparsity=0.5, share=0, scope="global")
]  # fmt: skip


@pytest.mark.parametrize("stage", [*CHANNELS, *SPARSE, Quantize()], ids=lambda stage: str(stage.kind))
@pytest.mark.parametrize("name", ["plain", "same", "transposed", "Auxiliary"])
def test_recipes_of_other_networks(name, stage):
    recipe = of(name, stage)
    predicted = predict(recipe, IMAGE, 10).ops
    refused = isinstance(stage, Quantize) and name not in ("plain", "same")
    assert predicted is not None
    with pytest.raises(SearcherError, match="quantize") if refused else contextlib.nullcontext():
        reconcile(predicted, counted(made(recipe)), recipe)


def test_zeros_of_a_dense_network_are_no_difference():
    reconcile(predict(of("Zeros"), IMAGE, 10).ops, counted(made(of("Zeros"))), of("Zeros"))


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        (
            "plain",
            (4, 32, 32),
            "tests.helpers.nets:plain does not run on an input of 1,4,32,32: Given groups=1",
        ),
        ("plain", (3, 4, 4), "input of 1,3,4,4: .*[kK]ernel size"),
        ("of_one_size", (3, 8, 8), "input of 1,3,8,8: .*[kK]ernel size"),
        ("of_one_size", (3, 16, 16), "input of 1,3,16,16: mat1 and mat2 shapes cannot be multiplied"),
        ("too_long", (3, 32, 32), "input of 1,3,32,32: mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_network_that_does_not_run_is_refused(name, image, message):
    with pytest.raises(SearcherError, match=message):
        predict(of(name), image, 10)
    with torch.device("meta"):
        model = getattr(nets, name)()
    with pytest.raises(RuntimeError):
        outline(model, (1, *image))


@pytest.mark.parametrize(
    ("name", "stage", "reason"),
    [
        ("grouped_norm", CHANNELS[0], "its channels cannot be followed with certainty: group_norm in 1"),
        ("Asking", CHANNELS[0], "its forward does not take shapes for tensors: AssertionError"),
        ("Asking", Quantize(), "its forward does not take shapes for tensors: AssertionError"),
        ("Recurrent", Train(), "a recurrent layer runs other operators on the meta device"),
        ("Branching", Train(), "its forward does not run without values: .* meta"),
        ("Reshaping", CHANNELS[0], "its forward does not run with fewer channels: .*invalid for input"),
    ],
)
def test_what_is_not_certain_is_not_predicted(name, stage, reason):
    prediction = predict(of(name, stage), IMAGE, 10)
    assert prediction.ops is None
    assert re.fullmatch(f"{reason}.*", prediction.reason)
    assert prediction.verdict == "cost not predicted"


def test_a_forward_that_does_not_take_shapes_is_predicted_on_the_meta_device():
    prediction = predict(of("Asking"), IMAGE, 10)
    assert prediction.verdict == "predicted on the meta device"
    assert prediction.reason == "its forward does not take shapes for tensors: AssertionError"
    reconcile(prediction.ops, predict(of("plain"), IMAGE, 10).ops, of("Asking"))


def test_what_is_kept_out_of_int8_has_to_be_a_module():
    with pytest.raises(SearcherError, match="no module named 'layer9'; did you mean layer"):
        predict(Recipe(model=Model(name="resnet20"), stages=(Quantize(exclude={"layer9": 16}),)), IMAGE, 10)
