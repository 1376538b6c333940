"""Choosing a trial, and the recipe file that it becomes."""

import tomllib
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from searcher import tasks
from searcher.config import recipe_file
from searcher.config.budget import constraint
from searcher.config.recipe import Model, PruneWeights, Quantize, Recipe, Train
from searcher.config.recipe_file import Expected
from searcher.config.study import Study
from searcher.deploy.export import export
from searcher.deploy.pick import pick, unsatisfied
from searcher.errors import SearcherError
from searcher.ui.commands import deploy
from tests.helpers import studies

RECIPE = Recipe(
    model=Model(name="densenet", args={"growth_rate": 4}),
    stages=(Train(), PruneWeights(sparsity=0.5), Quantize(exclude={"stem": 16})),
)
STUDY = Study.model_validate_json(
    """{"name": "tiny", "task": "digits", "space": "tiny", "budget": {"trials": 4, "epochs": 2},
    "objectives": [{"metric": "top1", "goal": "maximize"},
                   {"metric": "micronet_score", "variant": "imt-2022", "goal": "minimize"}],
    "constraints": [{"metric": "top1", "at_least": 0.9}], "metrics": [{"metric": "params"}]}"""
)


def trial(number: int, top1: float, score: float, params: float = 1000.0) -> FrozenTrial:
    made = optuna.create_study(directions=["maximize", "minimize"])
    attrs = {
        "metrics": {"top1": top1, "micronet_score:imt-2022": score, "params": params},
        "recipe": RECIPE.model_dump(mode="json"),
    }
    made.add_trial(
        optuna.trial.create_trial(state=TrialState.COMPLETE, values=[top1, score], user_attrs=attrs)
    )
    (found,) = made.trials
    found.number = number
    return found


TRIALS = [trial(0, 0.95, 0.030), trial(2, 0.93, 0.012), trial(3, 0.91, 0.010), trial(5, 0.80, 0.005, 500.0)]


@pytest.mark.parametrize(
    ("choice", "number"),
    [
        ("best", 3),
        ("knee", 2),
        ("0", 0),
        ("top1>=0.92", 2),
        ("top1 >= 0.94", 0),
        ("micronet_score<=0.02,top1>=0.92", 2),
        ("micronet_score:imt-2022<=0.006", 5),
        ("params<=600", 5),
        ("micronet_score<=0.02", 3),
    ],
)
def test_what_is_picked(choice, number):
    assert pick(STUDY, TRIALS, choice).number == number


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("1", "trial 1 of tiny@digits is not complete; complete: 0, 2, 3, 5"),
        ("top1>=0.99", r"no trial .* satisfies top1 >= 0.99; nearest: trial 0 with top1 0.95; trial 2 with"),
        ("top2>=0.9", "no metric measured by this study named 'top2'; did you mean top1"),
        ("top1>0.9", "expected best, knee, a trial's number, or a condition such as top1>=0.90"),
        ("top1>=much", "'much' is not a number"),
        ("top1>=nan", "'nan' is no bound, expected a finite number"),
        ("top1<=inf", "'inf' is no bound, expected a finite number"),
        ("fastest", "expected best, knee"),
    ],
)
def test_what_cannot_be_picked(choice, message):
    with pytest.raises(SearcherError, match=message):
        pick(STUDY, TRIALS, choice)


def test_the_best_is_the_best_quality_where_no_bound_says_what_is_enough():
    free = STUDY.model_copy(update={"constraints": (constraint("params <= 2000"),)})
    assert pick(free, TRIALS, "best").number == 0
    dropping = STUDY.model_copy(update={"constraints": (constraint("top1 >= -0.03"),)})
    dropping.learn({"top1": 0.95})
    assert pick(dropping, TRIALS, "best").number == 2


def test_of_equals_the_better_one_is_picked():
    equal = [trial(1, 0.91, 0.010), trial(2, 0.93, 0.010), trial(3, 0.93, 0.012)]
    assert pick(STUDY, equal, "best").number == 2
    assert pick(STUDY.model_copy(update={"constraints": ()}), equal, "best").number == 2


def test_an_empty_choice_says_what_came_nearest():
    with pytest.raises(SearcherError, match=r"satisfies top1 >= 0\.9; nearest: trial 5 with top1 0\.8"):
        pick(STUDY, TRIALS[3:], "best")
    with pytest.raises(SearcherError, match="tiny@digits has no complete trial"):
        pick(STUDY, [], "best")


def test_the_knee_is_feasible_or_refused():
    with pytest.raises(SearcherError, match=r"satisfies top1 >= 0\.9; nearest: trial 5 with top1 0\.8"):
        pick(STUDY, TRIALS[3:], "knee")
    assert pick(STUDY, [TRIALS[0], TRIALS[3]], "knee").number == 0


def test_conditions_take_the_place_of_the_constraints_on_their_metrics_alone():
    cheap = trial(7, 0.70, 0.004, 400.0)
    assert pick(STUDY, [*TRIALS, cheap], "top1>=0.75").number == 5
    assert pick(STUDY, [*TRIALS, cheap], "params<=1000").number == 3
    assert pick(STUDY, [*TRIALS, cheap], "params<=600").number == 5


def test_a_choice_that_violates_the_constraints_is_said():
    assert unsatisfied(STUDY, TRIALS[0]) == ""
    assert unsatisfied(STUDY, pick(STUDY, TRIALS, "5")) == (
        "trial 5 does not satisfy the study's top1 >= 0.9: top1 0.8"
    )


def test_an_export_says_that_its_trial_is_not_feasible(here: Path, capsys: pytest.CaptureFixture[str]):
    rows = [(0.4, 900.0), (0.6, 1000.0)]
    studies.store(here / "runs", studies.study(), rows)
    asked = {"output": here / "best.toml", "runs_dir": here / "runs"}
    deploy.export("told", pick="0", **asked)
    assert "trial 0 does not satisfy the study's top1 >= 0.5: top1 0.4" in capsys.readouterr().out
    deploy.export("told", pick="knee", **asked, force=True)
    assert "does not satisfy" not in capsys.readouterr().out
    assert recipe_file.load(here / "best.toml").provenance.trial == 1


def exported() -> recipe_file.RecipeFile:
    return export(STUDY, TRIALS[2], tasks.entry("digits").load().fingerprint)


def test_a_recipe_file_comes_back_as_it_was(tmp_path: Path):
    file = exported()
    file.save(tmp_path / "best.toml")
    assert recipe_file.load(tmp_path / "best.toml") == file
    assert {p.name for p in tmp_path.iterdir()} == {"best.toml"}
    content = tomllib.loads((tmp_path / "best.toml").read_text())
    assert list(content) == ["format", "recipe", "provenance", "expected"]
    assert content["provenance"]["trial"] == 3
    assert content["expected"]["top1"]["value"] == 0.91
    assert content["expected"]["top1"]["tolerance"] > 0.01
    assert content["expected"]["micronet_score:imt-2022"]["goal"] == "minimize"
    assert [m.key for m in file.metrics()] == ["top1", "micronet_score:imt-2022", "params"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", r"best\.toml: format 2 is newer than this searcher reads \(1\)"),
        ("format = 1", "", "format: missing"),
        ("format = 1", "format = 0", "format: input should be 1, got 0"),
        ("seed = 0\n", "", "provenance.seed: missing"),
        ("seed = 0\n", "sead = 0\n", r"provenance\.sead: no such key; did you mean seed\?"),
        (
            "sparsity = 0.5",
            "sparsity = 1.5",
            r"recipe\.stages\.1\.sparsity: input should be less than 1, got 1\.5",
        ),
        (
            "sparsity = 0.5",
            "sparsety = 0.5",
            r"recipe\.stages\.1\.sparsety: no such key; did you mean sparsity",
        ),
        ("growth_rate = 4", "growth_rate = ", "not TOML"),
        ("tolerance = ", "tolerence = ", r"expected\.top1\.tolerence: no such key; did you mean tolerance"),
    ],
)
def test_a_wrong_recipe_file_is_refused(tmp_path: Path, old: str, new: str, message: str):
    path = tmp_path / "best.toml"
    exported().save(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SearcherError, match=message):
        recipe_file.load(path)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path):
    path = tmp_path / "best.toml"
    path.write_text("format = 1\n[recipe]\nstages = []\n[provenance]\nstudy = 3\n")
    with pytest.raises(SearcherError) as error:
        recipe_file.load(path)
    for part in (
        "recipe.model: missing",
        "provenance.trial: missing",
        "provenance.study: ",
        "expected: missing",
    ):
        assert part in str(error.value)


def test_unreadable_and_unwritable_files(tmp_path: Path):
    with pytest.raises(SearcherError, match="No such file"):
        recipe_file.load(tmp_path / "none.toml")
    with pytest.raises(SearcherError, match="cannot be written"):
        exported().save(tmp_path / "no" / "best.toml")


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        ("maximize", 0.89, True),
        ("maximize", 0.87, False),
        ("maximize", 0.99, True),
        ("minimize", 0.99, False),
        ("minimize", 0.5, True),
        (None, 0.93, False),
        (None, 0.92, True),
    ],
)
def test_a_tolerance_has_a_side_where_there_is_a_goal(goal, value, met):
    assert Expected(value=0.9, tolerance=0.02, goal=goal).met(value) == met
