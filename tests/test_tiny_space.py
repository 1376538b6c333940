"""The space of tiny networks: what it suggests can be built, is predicted and survives its stages."""

import optuna
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.compression.predict import predict
from searcher.config import catalog
from searcher.config.recipe import PruneChannels, QuantizeAware, Recipe
from searcher.config.stages.int8 import Widths
from searcher.config.stages.teaching import teaching_of
from searcher.costs.counting.executed import walk
from searcher.costs.scores import score
from searcher.models import build
from searcher.ui.commands.target import Target

SPACE = catalog.load(catalog.find("spaces", "tiny"))
IMAGE = (3, 32, 32)
CONDITIONS = {
    "distill": {"temperature", "distill_weight"},
    "prune_channels": {"channels_ratio"},
    "prune_weights": {"sparsity", "sparsity_steps"},
}
PREFIXES = {"gated": "gated_", "inverted": "inverted_", "tiny_resnet": "resnet_"}


def draw(seed: int) -> tuple[optuna.Trial, Recipe]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return trial, SPACE.suggest(trial)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31))
def test_a_choice_that_is_off_suggests_none_of_its_parameters(seed: int) -> None:
    trial, _ = draw(seed)
    for switch, dependents in CONDITIONS.items():
        assert all((name in trial.params) == trial.params[switch] for name in dependents)
    for family, prefix in PREFIXES.items():
        own = trial.params["family"] == family
        assert any(name.startswith(prefix) for name in trial.params) == own
    assert ("adamw_lr" in trial.params) == ("sgd_lr" not in trial.params)
    assert ("mixup" in trial.params) == (not trial.params["distill"])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31))
def test_a_recipe_survives_json_and_its_network_is_smaller_than_its_teacher(seed: int) -> None:
    _, recipe = draw(seed)
    again = Recipe.model_validate(recipe.model_dump(mode="json"))
    assert (again, again.digest()) == (recipe, recipe.digest())
    sizes = [
        sum(p.numel() for p in build(model.name, model.args, in_channels=3, classes=10).parameters())
        for model in (recipe.model, SPACE.TEACHER)
    ]
    assert sizes[0] < sizes[1]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31))
def test_all_is_predicted_but_what_gated_blocks_lose_of_their_sums(seed: int) -> None:
    _, recipe = draw(seed)
    pruned = any(isinstance(stage, PruneChannels) for stage in recipe.stages)
    assert predict(recipe, IMAGE, 10).ops is not None or (recipe.model.name == "gated" and pruned)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31))
def test_one_teacher_teaches_all_stages_or_none(seed: int) -> None:
    trial, recipe = draw(seed)
    taught = [
        stage
        for stage in recipe.stages
        if (teaching := teaching_of(stage)) and teaching.teacher == SPACE.TEACHER and teaching.views
    ]
    training = [stage for stage in recipe.stages if stage.kind != "quantize"]
    assert taught == (training if trial.params["distill"] else [])


@pytest.mark.parametrize("seed", range(6))
def test_all_stages_run_on_the_untrained_network(seed: int) -> None:
    torch.set_num_threads(1)
    _, recipe = draw(seed)
    network = Target("", recipe, IMAGE, 10).network()
    assert walk(network.architecture, network.executed, torch.rand(1, *IMAGE))


def test_first_and_last_layer_keep_8_bits_where_the_others_have_4() -> None:
    choices = SPACE.ENQUEUE[-1] | {"codes": "int4 trained"}
    last = SPACE.suggest(optuna.trial.FixedTrial(choices)).stages[-1]
    assert isinstance(last, QuantizeAware)
    narrow = Widths(weights=4, activations=4)
    assert [last.widths(name) for name in ("stem.conv", "stage1.0", "classifier")] == [
        Widths(),
        narrow,
        Widths(),
    ]


def test_what_is_tried_first_is_complete_and_has_the_known_scores() -> None:
    recipes = [SPACE.suggest(optuna.trial.FixedTrial(params)) for params in SPACE.ENQUEUE]
    assert len({recipe.digest() for recipe in recipes}) == len(recipes)
    found = []
    for recipe in recipes:
        ops = predict(recipe, IMAGE, 10).ops
        assert ops is not None
        found.append(round(score(ops, "imt-2022").value, 4))
    assert found == [0.0094, 0.0122, 0.0061, 0.0061, 0.0179, 0.0083]


def test_networks_that_are_tried_first_are_within_the_studys_bound_and_near_one_another() -> None:
    space = catalog.load(catalog.find("spaces", "tiny_networks"))
    recipes = [space.suggest(optuna.trial.FixedTrial(params)) for params in space.ENQUEUE]
    assert len({recipe.digest() for recipe in recipes}) == len(recipes)
    assert {recipe.model.name for recipe in recipes} == set(space.TINY.FAMILIES)
    for recipe in recipes:
        ops = predict(recipe, IMAGE, 10).ops
        assert ops is not None
        assert 0.005 < score(ops, "imt-2022").value <= 0.0125


def test_what_a_short_search_finds_may_begin_a_long_one() -> None:
    space = catalog.load(catalog.find("spaces", "tiny_networks"))
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1)).ask()
    found = space.suggest(trial)
    long = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    long.enqueue_trial({k: v for k, v in trial.params.items() if not k.endswith("_lr")})
    assert SPACE.suggest(long.ask()).model == found.model
