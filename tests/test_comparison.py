import json

from optuna.trial import create_trial

from searcher.config.recipe import Distill, Model, Quantize, Recipe, Train
from searcher.ui.html.comparison import comparable, compared, parts
from tests.helpers.studies import TWO, study

RECIPE = Recipe(
    model=Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 2]}),
    stages=(
        Train(lr=0.05),
        Distill(teacher=Model(name="mine:net", args={"deep": True}), temperature=3.33017488),
        Quantize(exclude={"stem": 16}),
    ),
)


def test_a_recipe_is_its_parts_with_all_their_settings():
    (model, first), (train, second), (distill, third), (quantize, fourth) = parts(RECIPE)
    assert (model, train, distill, quantize) == ("model", "train", "distill", "quantize")
    default = {"groups_1x1": "1", "groups_3x3": "1", "depthwise": "no"}
    assert first == {"name": "densenet", "growth_rate": "4", "blocks": "1-2"} | default
    assert second["lr"] == "0.05"
    assert third["teacher name"] == "mine:net"
    assert third["teacher deep"] == "yes"
    assert third["teacher_training lr"] == "0.1"
    assert third["temperature"] == "3.33017"
    assert fourth == {"exclude stem": "16", "calibration_images": "512"}


def test_what_goes_without_saying_does_not_differ():
    said = RECIPE.model_copy(
        update={"model": Model(name="densenet", args={"groups_1x1": 1, **RECIPE.model.args})}
    )
    assert parts(said) == parts(RECIPE)


def test_figures_come_with_what_is_better():
    searched = study(
        objectives=TWO, constraints=({"metric": "mine", "at_least": 1.0},), metrics=({"metric": "sparsity"},)
    )
    metrics = {"top1": 0.9, "macs": 2e6, "mine": 3.0, "sparsity": 0.5}
    recipe = RECIPE.model_dump(mode="json")
    trials = [
        create_trial(values=[0.9, 2e6], user_attrs={"metrics": metrics, "recipe": recipe}),
        create_trial(values=[0.9, 2e6], user_attrs={"metrics": metrics}),
    ]
    assert comparable(trials) == trials[:1]
    found = compared(searched, trials[:1])
    assert found["metrics"] == {
        "top1": {"share": True, "goal": "maximize"},
        "macs": {"share": False, "goal": "minimize"},
        "mine": {"share": False, "goal": "maximize"},
        "sparsity": {"share": True, "goal": None},
    }
    (trial,) = json.loads(json.dumps(found))["trials"].values()
    assert trial["figures"]["macs"] == [2e6, "2,000,000"]
    assert trial["parts"][0][0] == "model"
