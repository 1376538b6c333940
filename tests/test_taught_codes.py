"""Networks that are taught while they are trained in codes, or to ternary weights."""

import pytest
from pydantic import ValidationError

from searcher.compression.checkpoint import Checkpoints
from searcher.compression.pipeline import run_recipe
from searcher.compression.store import Store
from searcher.config.recipe import Model, QuantizeAware, Recipe, Stage, Teaching, Ternary, Train
from tests.test_taught_pruning import ALIKE, SEEN, SHORT, SMALL, a_run, same

STAGES = {
    "codes": QuantizeAware(weight_bits=4, teaching=SEEN, **SHORT),
    "codes by itself": QuantizeAware(teaching=Teaching(weight=0.9), **SHORT),
    "ternary": Ternary(teaching=ALIKE, **SHORT),
}


def made(stage: Stage, run):
    recipe = Recipe(model=SMALL, stages=(Train(**SHORT), stage))
    return run_recipe(recipe, run)


@pytest.mark.parametrize("name", STAGES)
def test_a_teacher_changes_what_is_trained_and_a_killed_training_goes_on(name, tmp_path):
    stage, store, left = STAGES[name], Store(tmp_path / "store"), [0]

    def report(*_):
        left[0] += 1
        if left[0] == counted:
            raise KeyboardInterrupt

    counted = -1
    undisturbed = made(stage, a_run(report=report)).architecture
    alone = made(stage.model_copy(update={"teaching": None}), a_run()).architecture
    assert not same(alone, undisturbed)

    counted, left[0] = left[0] - 1, 0  # in the last stage, after its first epoch
    places = {"checkpoints": Checkpoints(tmp_path / "checkpoints"), "store": store}
    with pytest.raises(KeyboardInterrupt):
        made(stage, a_run(report=report, **places))
    assert same(made(stage, a_run(**places)).architecture, undisturbed)

    points = []
    found = made(stage, a_run(report=lambda *point: points.append(point), store=store))
    assert same(found.architecture, undisturbed)
    assert not points


def test_the_words_say_the_teacher():
    assert STAGES["codes by itself"].words() == "int8 trained, distilled from itself"
    assert STAGES["ternary"].words() == "ternary weights, distilled from itself, features, attention"


def test_layers_of_a_graph_cannot_be_taught():
    with pytest.raises(ValidationError, match="is a graph of operations; its outputs can be taught"):
        QuantizeAware(teaching=ALIKE)


def test_its_teacher_is_a_model_that_is_told():
    model = Model(name="densenet", args={"growth_rate": 4, "blocks": [1, 1, 1, 1]})
    assert Ternary(teaching=Teaching(teacher=model)).models() == [model]
