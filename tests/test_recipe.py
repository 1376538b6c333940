import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from searcher.config.recipe import (
    Distill,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    Recipe,
    Stage,
    Train,
)
from searcher.config.stages.base import added

MODEL = Model(name="densenet", args={"growth_rate": 4})
DIGESTS = [
    "b422a58d7110a612",
    "9560e7b12b100e97",
    "b018416e2e27ff22",
    "44ce5a0c1ab20bbe",
    "96ce0daefc0faaef",
    "2114089e685586c3",
]
"""Of a recipe with no stage, its first, its first two and so on."""


def test_digest_of_a_prefix_ignores_what_comes_later():
    short = Recipe(model=MODEL, stages=(Train(),))
    long = Recipe(model=MODEL, stages=(Train(), PruneWeights(sparsity=0.5)))
    assert long.digest(1) == short.digest()
    assert long.digest() != short.digest()


def test_an_order_in_which_a_stage_would_undo_another_is_refused():
    with pytest.raises(ValidationError, match="would undo"):
        Recipe(model=MODEL, stages=(PruneWeights(sparsity=0.5), Train()))


def test_saved_as_toml(tmp_path: Path):
    recipe = Recipe(model=MODEL, stages=(Train(mixup=0.2), Quantize(exclude={"stem": 16})))
    recipe.save(tmp_path / "recipe.toml")
    data = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert Recipe.model_validate(data["recipe"]) == recipe


def test_words_say_what_is_on():
    recipe = Recipe(model=MODEL, stages=(Train(), Quantize(exclude={"stem": 16})))
    assert recipe.words() == "densenet k=4; int8 but stem in 16 bits"


class Growing(Stage):
    """A stage that has learned more since its recipes were stored."""

    kind: Literal["growing"] = "growing"
    first: int = 1
    since: dict[str, float] = added({})
    limited: int = added(2, ge=1)


def test_a_field_that_was_added_is_dumped_where_it_is_not_at_its_default():
    assert Growing().model_dump(mode="json") == {"kind": "growing", "first": 1}
    assert Growing(since={}, limited=2).model_dump_json() == Growing().model_dump_json()
    asked = Growing(since={"stem": 0.5}, limited=3)
    assert Growing.model_validate_json(asked.model_dump_json()) == asked
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Growing(limited=0)


def test_digests_of_recipes_are_those_under_which_work_is_stored():
    stages = (
        Train(lr=0.05),
        PruneChannels(ratio=0.3, criterion="l2"),
        Distill(teacher=Model(name="resnet20")),
        PruneWeights(sparsity=0.5, steps=2),
        Quantize(exclude={"stem": 16}),
    )
    recipe = Recipe(model=MODEL, stages=stages)
    # As they were before any stage had a field that was added.
    assert [recipe.digest(count) for count in range(6)] == DIGESTS


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"ratio": 0}, "a ratio of 0 removes nothing"),
        ({"ratio": 0, "ratios": {"stem": 0}}, "a ratio of 0 removes nothing"),
        ({"ratio": 0.5, "ratios": {"stem": 1}}, "less than 1"),
        ({"ratio": 0.5, "ratios": {"stem": 0.1}, "scope": "global"}, "ratios are of scope local"),
        ({"ratio": 0.5, "engine": "nni", "scope": "global"}, "scope global is engine torch-pruning's"),
        ({"ratio": 0.5, "engine": "nni", "criterion": "bn_scale"}, "bn_scale is engine torch-pruning's"),
        ({"ratio": 0.5, "criterion": "tailor"}, "no criterion named 'tailor'; did you mean taylor"),
    ],
)
def test_what_does_not_fit_is_refused(asked: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        PruneChannels.model_validate(asked)


@pytest.mark.parametrize("asked", [{"sparsity": 0.6}, {"sparsity": 0.5, "steps": 2}], ids=str)
def test_two_of_four_is_half(asked: dict[str, Any]):
    with pytest.raises(ValidationError, match=r"pattern 2:4 is a sparsity of 0\.5, in one step"):
        PruneWeights.model_validate({"pattern": "2:4"} | asked)


def test_words_of_pruned_weights():
    assert PruneWeights(sparsity=0.5, steps=2).words() == "50.0% sparse (global in 2 steps)"
    stage = PruneWeights(sparsity=0.5, pattern="4x1", layers="convolutions", criterion="movement")
    assert stage.words() == "50.0% sparse (global, convolutions, 4x1, movement)"
    assert PruneWeights(sparsity=0.5, pattern="2:4").words() == "50.0% sparse (2:4)"


def test_words_of_pruned_channels():
    stage = PruneChannels(ratio=0.5, ratios={"stem": 0.1}, criterion="taylor", round_to=8, steps=3)
    assert stage.words() == "channels -50%, stem -10% (taylor, multiples of 8, 3 steps, torch-pruning)"
    assert PruneChannels(ratio=0.5, scope="global").words() == "channels -50% (global, l1, torch-pruning)"
