import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.config import catalog
from searcher.config.recipe import Recipe
from searcher.models import build

SPACE = catalog.load(catalog.find("spaces", "micronet"))
CONDITIONS = {
    "mixup": {"mixup_alpha"},
    "prune_channels": {"channels_ratio", "channels_criterion", "channels_engine"},
    "distill": {"teacher_growth_rate", "temperature", "distill_weight"},
    "prune_weights": {"sparsity", "sparsity_scope", "weights_schedule"},
    "int8": {f"exclude_{block}" for block in SPACE.BLOCKS},
    **{f"exclude_{block}": {f"width_{block}"} for block in SPACE.BLOCKS},
}


def draw(seed: int) -> tuple[optuna.Trial, Recipe]:
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    return trial, SPACE.suggest(trial)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31))
def test_a_choice_that_is_off_suggests_none_of_its_parameters(seed: int):
    trial, _ = draw(seed)
    for switch, dependents in CONDITIONS.items():
        on = bool(trial.params.get(switch))
        assert all((name in trial.params) == on for name in dependents)
    assert ("groups_1x1" in trial.params) == (trial.params["growth_rate"] % 2 == 0)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31))
def test_a_recipe_survives_json_and_its_model_builds(seed: int):
    _, recipe = draw(seed)
    again = Recipe.model_validate(recipe.model_dump(mode="json"))
    assert again == recipe
    assert again.digest() == recipe.digest()
    build(recipe.model.name, recipe.model.args, in_channels=3, classes=10)


def test_the_eight_published_configurations_are_complete():
    recipes = [SPACE.suggest(optuna.trial.FixedTrial(params)) for params in SPACE.ENQUEUE]
    assert len(recipes) == len({r.digest() for r in recipes}) == 8


@pytest.mark.parametrize(("number", "params"), [(0, 70_922), (2, 66_282), (5, 69_262), (6, 70_922)])
def test_the_published_configurations_have_the_published_parameters(number: int, params: int):
    model = SPACE.suggest(optuna.trial.FixedTrial(SPACE.ENQUEUE[number])).model
    net = build(model.name, model.args, in_channels=3, classes=10)
    assert sum(p.numel() for p in net.parameters()) == params


def test_the_headline_keeps_out_what_was_published():
    recipe = SPACE.suggest(optuna.trial.FixedTrial(SPACE.ENQUEUE[0]))
    assert recipe.stages[-1].exclude == dict.fromkeys(["stem", "dense1", "dense2", "trans3"], 16)
    assert recipe.words().startswith("densenet k=4 groups_1x1=2 groups_3x3=2 6-12-24-16; distilled")
