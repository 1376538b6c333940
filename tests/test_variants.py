from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from searcher.config import catalog
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.config.study import Study, StudyFile
from searcher.execution.curve import Curve, Point
from searcher.searching import variants
from searcher.searching.pareto import front
from searcher.searching.prefixes import depths
from searcher.searching.screening import Screen
from searcher.searching.storage import studies
from searcher.searching.variants import Variant, Variants
from tests.conftest import Run

SUGGEST = catalog.load(catalog.find("spaces", "micronet")).suggest
SMALLEST = Model(name="densenet", args={"growth_rate": 1, "blocks": [1, 1, 1, 1]})


def changed(**changes: Any) -> Study:
    study = StudyFile("micronet", ["budget.epochs=4"]).study("digits")
    return Study.model_validate(study.model_dump() | {"constraints": ()} | changes)


STUDY = changed()


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


def best(folder: Path, study: Study, trials: list[FrozenTrial]) -> Variant | None:
    return Variants(study, SUGGEST, Screen(study), lambda number: folder).best(front(study, trials), trials)


def like(trial: FrozenTrial, number: int, recipe: Recipe | None = None, **attrs: Any) -> FrozenTrial:
    """The trial as another, with another recipe or other attributes."""
    text = {"recipe": recipe.model_dump(mode="json")} if recipe else {}
    metrics = {"metrics": trial.user_attrs["metrics"] | attrs.pop("metrics", {})}
    made = optuna.trial.create_trial(
        values=trial.values, user_attrs=trial.user_attrs | text | metrics | attrs
    )
    made.number = number
    return made


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cost", ["micronet_score", "size_mb"])
def test_every_trained_network_is_quantized_as_cheaply_as_it_can(tmp_path: Path, seed: int, cost: str):
    objective = {"metric": cost, "goal": "minimize"} | ({"variant": "imt-2022"} if cost != "size_mb" else {})
    study = changed(objectives=({"metric": "top1", "goal": "maximize"}, objective))
    stored = told(tmp_path, seed)
    own = Recipe.model_validate(stored.trials[0].user_attrs["recipe"])
    searched = Variants(study, SUGGEST, Screen(study), lambda number: tmp_path)
    before = front(STUDY, stored.trials)
    found: list[Recipe] = []
    while variant := searched.best(before, stored.trials):
        stored.enqueue_trial(variant.params, user_attrs=variant.attributes)
        recipe = SUGGEST(stored.ask())
        assert recipe.digest() == variant.recipe
        found.append(recipe)
    for recipe in found:
        assert recipe.digest(depths(recipe)) == own.digest(depths(recipe)), "it trains nothing"
        assert recipe.stages[-1] == Quantize(exclude={}), "nothing is kept out of int8"
    assert len({r.digest() for r in found}) == len(found) <= depths(own)
    assert found or own.stages[-1] == Quantize(exclude={})


def test_what_is_no_better_waits(tmp_path: Path):
    (trial,) = told(tmp_path, 0).trials
    searched = Variants(STUDY, SUGGEST, Screen(STUDY), lambda number: tmp_path)
    better = like(trial, 1, Recipe(model=SMALLEST, stages=()), metrics={"top1": 1.0})
    assert searched.best(front(STUDY, [better]), [trial]) is None
    assert searched.best(front(STUDY, [trial]), [trial])


def test_a_bound_on_quality_holds_for_variants(tmp_path: Path):
    (trial,) = told(tmp_path, 0).trials
    bound = {"metric": "top1", "at_least": 0.9}
    costs = ({"metric": "micronet_score", "variant": "imt-2022", "goal": "minimize"},)
    both = ({"metric": "top1", "goal": "maximize"}, *costs)
    good = like(trial, 1, Recipe(model=SMALLEST, stages=()), metrics={"top1": 0.95})
    study = changed(objectives=both, constraints=(bound,))
    assert best(tmp_path, study, [trial]), "nothing is feasible yet"
    assert best(tmp_path, study, [trial, good]) is None
    assert best(tmp_path, changed(objectives=costs, constraints=(bound,)), [trial]) is None


def test_where_int8_fails_it_is_not_tried_for_ever(tmp_path: Path):
    (trial,) = told(tmp_path, 0).trials
    found = best(tmp_path, STUDY, [trial])
    assert found
    # Of other networks, so that this one is still to be tried.
    attributes = found.attributes | {"variant": {"recipe": "another", "expected": found.expected}}
    failed = like(trial, 1, Recipe(model=SMALLEST, stages=()), outcome="failed", **attributes)
    failed.state = TrialState.FAIL
    assert (
        Variants(STUDY, SUGGEST, Screen(STUDY), lambda number: tmp_path).best(
            front(STUDY, [trial]), [trial, failed]
        )
        is None
    )
    told_by_it = like(trial, 1, Recipe(model=SMALLEST, stages=()), **found.attributes)
    assert best(tmp_path, STUDY, [trial, told_by_it]) != found, "it was tried, whatever it has suggested"


def test_a_space_that_cannot_do_without_optuna_has_none(tmp_path: Path):
    (trial,) = told(tmp_path, 0).trials

    def suggest(asked: Any) -> Recipe:
        return SUGGEST(asked) if asked.study else Recipe(model=SMALLEST, stages=())

    searched = Variants(STUDY, suggest, Screen(STUDY), lambda number: tmp_path)
    assert searched.best(front(STUDY, [trial]), [trial]) is None


def test_what_was_found_is_not_looked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trials = told(tmp_path, 0).trials
    first = best(tmp_path, STUDY, trials)
    monkeypatch.setattr(variants, "cheapest", None)
    assert first == best(tmp_path, STUDY, trials) is not None
    (tmp_path / variants.VARIANTS).write_text("[{")
    assert best(tmp_path, STUDY, trials) is None


@pytest.mark.parametrize(
    "without",
    [
        {"store": False},
        {"sampler": {"variants": False}},
        {"objectives": ({"metric": "top1", "goal": "maximize"},)},
    ],
)
def test_studies_that_have_none(tmp_path: Path, without: dict[str, Any]):
    assert best(tmp_path, changed(**without), told(tmp_path, 0).trials) is None


@pytest.mark.slow
def test_a_search_tries_what_it_has_trained_in_int8(place: Path, run_command: Run):
    saving = ["--set", "store=true", "--set", "screening=true", "--set", "early_stopping.enabled=true"]
    saving += ["--set", "budget.trials=4", "--set", "budget.epochs=1"]
    result = run_command("run", "--study", "tiny", "--workers", "1", *saving)
    assert result.returncode == 0, result.stderr
    found = studies.load(place / "runs", "tiny@digits")[0].trials
    added = [t for t in found if "variant_of" in t.user_attrs]
    # The second known configuration is not quantized, so its network is at once.
    assert added[0].number == 2
    assert ", the network of trial 1 [3/4 done" in result.stdout
    assert added[0].params == found[1].params | {"int8": True}
    assert {t.state.name for t in added} == {"COMPLETE"}
    trained = {Recipe.model_validate(t.user_attrs["recipe"]).digest(1) for t in found}
    assert len(list((place / "runs" / "store").glob("*/*.safetensors"))) == len(trained)
