import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from searcher.config.recipe import Model, PruneWeights, Quantize, Recipe, Train

MODEL = Model(name="densenet", args={"growth_rate": 4})


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
