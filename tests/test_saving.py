"""Searches that save: screening, reuse, early stopping and the store."""

from pathlib import Path

import pytest

from searcher.searching import driver as search
from searcher.searching.storage import studies
from tests.conftest import SEARCH, Driver, Run
from tests.helpers.processes import trials, until
from tests.test_search import kill

SAVING = ["--set", "store=true", "--set", "screening=true", "--set", "early_stopping.enabled=true"]
QUICK = ["--workers", "1", "--set", "budget.epochs=1"]


@pytest.mark.slow
def test_what_cannot_be_feasible_is_not_trained(place: Path, run_command: Run):
    (place / "studies" / "small.toml").write_text(
        'extends = "tiny"\nscreening = true\n'
        '[[constraints]]\nmetric = "micronet_score"\nvariant = "imt-2022"\nat_most = 0.0004\n'
    )
    result = run_command("run", "--study", "small", *QUICK)
    assert result.returncode == 0, result.stderr
    assert "infeasible: micronet_score:imt-2022 <= 0.0004, predicted " in result.stdout
    stored = studies.load(place / "runs", "small@digits")[0].trials
    refused = [t for t in stored if t.user_attrs.get("outcome") == "infeasible"]
    complete = [t for t in stored if t.state.name == "COMPLETE"]
    assert refused
    assert len(complete) == 4
    assert all(t.state.name == "PRUNED" and max(t.constraints.values()) > 0 for t in refused)
    folder = place / "runs" / "small@digits"
    assert not any((folder / f"trial-{t.number:05}").exists() for t in refused)


def test_a_constraint_that_nothing_satisfies_ends_the_search(
    place: Path, run_command: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search, "MAX_REFUSED_IN_A_ROW", 20)
    (place / "studies" / "none.toml").write_text(
        'extends = "tiny"\nscreening = true\nmetrics = [{ metric = "params" }]\n'
        '[[constraints]]\nmetric = "params"\nat_most = 1\n'
    )
    result = run_command("run", "--study", "none", "--workers", "1")
    assert result.returncode == 2
    assert "cannot satisfy a constraint on cost" in result.stderr


@pytest.mark.slow
def test_the_same_recipe_is_measured_once(place: Path, run_command: Run):
    space = (place / "spaces" / "tiny.py").read_text()
    (place / "spaces" / "tiny.py").write_text(space + "\nENQUEUE = [ENQUEUE[0], *ENQUEUE]\n")
    more = ["--set", "screening=true", "--set", "budget.trials=3"]
    result = run_command("run", "--study", "tiny", *QUICK, *more)
    assert result.returncode == 0, result.stderr
    assert "the same recipe as trial " in result.stdout
    found = trials(place)
    reused = [t for t in found if "reused" in t.user_attrs]
    assert [t.number for t in reused] == [1]
    for trial in reused:
        first = found[trial.user_attrs["reused"]]
        assert trial.values == first.values
        assert trial.user_attrs["recipe"] == first.user_attrs["recipe"]
    recipes = [str(t.user_attrs["recipe"]) for t in found if "reused" not in t.user_attrs]
    assert len(recipes) == len(set(recipes))


SLOW = [{"growth_rate": k, "int8": False, "lr": 1e-6} for k in (5, 6)]


@pytest.mark.slow
def test_what_lags_behind_is_stopped_and_a_killed_search_goes_on(
    place: Path, run_command: Run, driver: Driver
):
    # The last two of the known ones hardly learn, at a higher cost than the others.
    space = (place / "spaces" / "tiny.py").read_text()
    space = space.replace("[Train(lr=0.05)]", '[Train(lr=trial.suggest_categorical("lr", [0.05, 1e-6]))]')
    space = space.replace('"int8": True}', '"int8": True, "lr": 0.05}')
    space = space.replace('"int8": False}]', '"int8": False, "lr": 0.05}] + ' + str(SLOW))
    (place / "spaces" / "tiny.py").write_text(space)
    asked = [*SAVING, "--set", "budget.trials=6", "--set", "budget.epochs=6", "--workers", "1"]
    running = driver(*asked)
    until(lambda: running.poll() is not None or sum(t.state.is_finished() for t in trials(place)) >= 3)
    assert running.poll() is None, (place / "driver.log").read_text()
    kill(running)
    result = run_command(*SEARCH, *asked)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "stopped after " in result.stdout + (place / "driver.log").read_text()
    found = trials(place)
    superseded = {t.user_attrs.get("promoted_from") for t in found}
    counted = [t for t in found if t.state.name in ("COMPLETE", "PRUNED") and t.number not in superseded]
    assert sorted(t.user_attrs["ordinal"] for t in counted) == list(range(6))
    assert {t.state.name for t in found} <= {"COMPLETE", "PRUNED", "FAIL"}
    stopped = [t for t in found if t.state.name == "PRUNED" and "reused" not in t.user_attrs]
    assert stopped
    for trial in stopped:
        curve = (place / "runs" / "tiny@digits" / f"trial-{trial.number:05}" / "curve.csv").read_text()
        assert any(key.startswith("rung:") for key in trial.user_attrs)
        assert ",1,6," in curve


@pytest.mark.slow
def test_warm_start_from_another_front(place: Path, run_command: Run):
    assert run_command("run", "--study", "tiny", *QUICK, "--set", "budget.trials=3").returncode == 0
    best = {
        tuple(sorted(t.params.items())) for t in studies.load(place / "runs", "tiny@digits")[0].best_trials
    }
    (place / "studies" / "next.toml").write_text('extends = "tiny"\n[warm_start]\nfrom = "tiny"\n')
    assert run_command("run", "--study", "next", *QUICK, "--set", "budget.trials=5").returncode == 0
    stored = studies.load(place / "runs", "next@digits")[0].trials
    asked = {tuple(sorted(t.params.items())) for t in stored[2 : 2 + len(best)]}
    assert asked == best


@pytest.mark.parametrize("name", ["nothing", "tniy"])
def test_warm_start_from_what_is_not_stored(place: Path, run_command: Run, name: str):
    result = run_command("run", "--study", "tiny", "--set", f"warm_start.from='{name}'")
    assert result.returncode == 2
    assert name in result.stderr


def test_the_store_is_listed_and_collected(place: Path, run_command: Run):
    asked = ["run", "--study", "tiny", *QUICK, *SAVING, "--set", "budget.trials=1"]
    assert run_command(*asked).returncode == 0
    listed = run_command("store", "ls")
    assert listed.returncode == 0, listed.stderr
    assert "densenet k=" in listed.stdout
    collected = run_command("store", "gc", "--max-size", "0B")
    assert collected.returncode == 0, collected.stderr
    assert "dropped " in collected.stdout
    assert "nothing is stored" in run_command("store", "ls").stdout
    wrong = run_command("store", "gc", "--max-size", "lots")
    assert wrong.returncode == 2
    assert "expected a number" in wrong.stderr
