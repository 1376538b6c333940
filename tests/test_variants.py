from pathlib import Path

import optuna
import pytest

from searcher import catalog, storage, variants
from searcher.curve import Curve, Point
from searcher.front import front
from searcher.prefixes import depths
from searcher.recipe import Model, Quantize, Recipe
from searcher.screen import Screen
from searcher.study import StudyFile
from searcher.variants import Variants
from tests.conftest import Searcher

SUGGEST = catalog.load(catalog.find("spaces", "micronet")).suggest
STUDY = StudyFile("micronet", ["constraints=[]", "budget.epochs=4"]).study("digits")


def told(folder: Path, seed: int) -> optuna.Study:
    """A study with one complete trial of the micronet space, whose curve is 0.5 to the end of each stage."""
    stored = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.RandomSampler(seed=seed)
    )
    trial = stored.ask()
    recipe = SUGGEST(trial)
    predicted = Screen(STUDY).look(recipe).predicted
    metrics = {o.key: predicted.get(o.key, 0.5) for o in STUDY.objectives}
    trial.set_user_attr("recipe", recipe.model_dump(mode="json"))
    trial.set_user_attr("metrics", metrics)
    stored.tell(trial, list(metrics.values()))
    curve = Curve(folder / "curve.csv")
    for epoch in range(40):
        curve.add(Point(0.0, "train", epoch + 1, 40, 0.5))
    return stored


@pytest.mark.parametrize("seed", range(3))
def test_every_trained_network_is_quantized_as_cheaply_as_it_can(tmp_path: Path, seed: int):
    stored = told(tmp_path, seed)
    own = Recipe.model_validate(stored.trials[0].user_attrs["recipe"])
    searched = Variants(STUDY, SUGGEST, Screen(STUDY), lambda number: tmp_path)
    before = front(STUDY, stored.trials)
    found: list[Recipe] = []
    while variant := searched.best(before, stored.trials):
        stored.enqueue_trial(variant.params)
        trial = stored.ask()
        recipe = SUGGEST(trial)
        assert recipe.digest() == variant.recipe
        trial.set_user_attr("recipe", recipe.model_dump(mode="json"))
        found.append(recipe)
    for recipe in found:
        assert recipe.digest(depths(recipe)) == own.digest(depths(recipe)), "it trains nothing"
        assert recipe.stages[-1] == Quantize(exclude={}), "nothing is kept out of int8"
    assert len({r.digest() for r in found}) == len(found) <= depths(own)


def test_what_is_no_better_is_not_tried(tmp_path: Path):
    stored = told(tmp_path, 0)
    searched = Variants(STUDY, SUGGEST, Screen(STUDY), lambda number: tmp_path)
    (trial,) = stored.trials
    smallest = Model(name="densenet", args={"growth_rate": 1, "blocks": [1, 1, 1, 1]})
    told_better = trial.user_attrs | {
        "recipe": Recipe(model=smallest, stages=()).model_dump(mode="json"),
        "metrics": trial.user_attrs["metrics"] | {"top1": 1.0},
    }
    better = optuna.trial.create_trial(values=trial.values, user_attrs=told_better)
    assert searched.best(front(STUDY, [better]), stored.trials) is None
    assert searched.best(front(STUDY, [trial]), stored.trials) is None, "it was not good enough before"


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored = told(tmp_path, 0)
    before = front(STUDY, stored.trials)
    first = Variants(STUDY, SUGGEST, Screen(STUDY), lambda number: tmp_path).best(before, stored.trials)
    monkeypatch.setattr(variants, "cheapest", None)
    again = Variants(STUDY, SUGGEST, Screen(STUDY), lambda number: tmp_path).best(before, stored.trials)
    assert first == again is not None


def test_a_study_without_a_store_has_none(tmp_path: Path):
    stored = told(tmp_path, 0)
    for without in ("store=false", "sampler.variants=false"):
        study = StudyFile("micronet", ["constraints=[]", "budget.epochs=4", without]).study("digits")
        searched = Variants(study, SUGGEST, Screen(study), lambda number: tmp_path)
        assert searched.best(front(study, stored.trials), stored.trials) is None


def test_a_search_tries_what_it_has_trained_in_int8(place: Path, searcher: Searcher):
    saving = ["--set", "store=true", "--set", "screening=true", "--set", "early_stopping.enabled=true"]
    result = searcher("run", "--study", "tiny", "--workers", "1", *saving, "--set", "budget.trials=4")
    assert result.returncode == 0, result.stderr
    found = storage.load(place / "runs", "tiny@digits")[0].trials
    added = [t for t in found if "variant_of" in t.user_attrs]
    # The second known configuration is not quantized, so its network is at once.
    assert added[0].number == 2
    assert added[0].params == found[1].params | {"int8": True}
    assert {t.state.name for t in added} == {"COMPLETE"}
    trained = {Recipe.model_validate(t.user_attrs["recipe"]).digest(1) for t in found}
    assert len(list((place / "runs" / "store").glob("*/*.safetensors"))) == len(trained)
