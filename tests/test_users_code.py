"""What a user has written may fail: the trial fails, the study goes on."""

import sys
from types import SimpleNamespace

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import nn

from searcher.config.metric import Metric
from searcher.config.recipe import Model, PruneWeights, Recipe, Train
from searcher.costs.counting.recorder import record
from searcher.errors import TrialError
from searcher.execution.local import Local
from searcher.execution.measurement import from_rows
from searcher.execution.messages import Progress
from searcher.searching import ask
from searcher.searching.driver import Driver
from searcher.searching.loading import Space
from searcher.searching.screening import Screen, Screened
from tests.helpers.studies import study

METRICS = """
def figure(measurement):
    {body}

PREDICTED = METRICS = {{"figure": figure}}
"""
RAISING = {
    "raise ValueError('no figure')": "ValueError: no figure",
    "return 1 / 0": "ZeroDivisionError: division by zero",
    "import sys; sys.exit(0)": "SystemExit: 0",
    "return 'much'": "ValueError: could not convert string to float: 'much'",
    "return None": "TypeError",
    "return measurement.network": "AttributeError",
    "return float('nan')": "is nan, expected a finite number",
    "return float('-inf')": "is -inf, expected a finite number",
}


class Quiet:
    def update(self, state):
        pass

    def told(self, state, number, outcome):
        pass


def weightless():
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten())


def small():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def recipe(name="weightless"):
    return Recipe(model=Model(name=f"tests.test_users_code:{name}"), stages=(Train(),))


def driver(tmp_path, suggest, **changes):
    asked = study(constraints=(), **changes)
    stored = optuna.create_study(directions=["maximize", "minimize"])
    return Driver(asked, stored, Space(suggest, []), tmp_path, Local(1), Quiet())


def own_metric(tmp_path, monkeypatch, body):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "objectives").mkdir()
    (tmp_path / "objectives" / "own.py").write_text(METRICS.format(body=body))


@pytest.mark.parametrize("body", RAISING)
def test_a_metric_that_cannot_be_predicted_fails_the_trial(body, tmp_path, monkeypatch):
    own_metric(tmp_path, monkeypatch, body)
    searching = driver(tmp_path, lambda trial: recipe("small"), metrics=({"metric": "figure"},))
    assert searching.start_one()
    assert searching.start_one()
    trials = searching.trials.all()
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 2
    assert trials[0].user_attrs["reason"].startswith("TrialError: metric figure of the predicted network")
    assert RAISING[body] in trials[0].user_attrs["reason"]


def test_the_shipped_sparsity_of_a_network_without_weights(tmp_path):
    searching = driver(tmp_path, lambda trial: recipe(), metrics=({"metric": "sparsity"},))
    searching.start_one()
    (trial,) = searching.trials.all()
    assert trial.state == TrialState.FAIL
    assert "metric sparsity of the predicted network: ZeroDivisionError" in trial.user_attrs["reason"]
    ops = record(weightless(), torch.rand(1, 1, 8, 8))
    with pytest.raises(TrialError, match="metric sparsity"):
        from_rows(ops, [Metric(metric="sparsity")])
    assert from_rows(ops, [Metric(metric="macs")]) == {"macs": 0.0}


@pytest.mark.parametrize(
    ("suggest", "reason"),
    [
        (lambda trial: 1 / 0, "space tiny: ZeroDivisionError: division by zero"),
        (lambda trial: sys.exit(0), "space tiny: SystemExit: 0"),
        (lambda trial: None, "space tiny: TypeError: suggest returned None, expected a Recipe"),
    ],
)
def test_a_space_that_fails_fails_the_trial(suggest, reason, tmp_path):
    searching = driver(tmp_path, suggest)
    assert searching.start_one()
    assert searching.start_one()
    assert [(t.state, t.user_attrs["reason"]) for t in searching.trials.all()] == [
        (TrialState.FAIL, reason)
    ] * 2


def test_a_trial_at_a_rung_that_cannot_be_judged_goes_on(tmp_path, monkeypatch):
    own_metric(tmp_path, monkeypatch, "return 1 / (sum(op.weights - op.nonzero for op in measurement.ops))")
    pruned = recipe("small").model_copy(update={"stages": (Train(), PruneWeights(sparsity=0.5, share=0.5))})
    searching = driver(tmp_path, lambda trial: pruned, metrics=({"metric": "figure"},))
    assert Screen(searching.study).look(pruned).predicted["figure"] == pytest.approx(1 / 38, rel=0.1)
    assert searching.screen.so_far(pruned, 1) == {}
    went: list[int] = []
    process = SimpleNamespace(job=SimpleNamespace(recipe=pruned), go_on=went.append)
    trial = searching.trials.stored.ask()
    assert searching._goes_on(
        SimpleNamespace(trial=trial, process=process), Progress("train", 1, 2, 0.5, 0.0, 1)
    )
    assert went == [1]


def test_a_trial_that_is_found_again_is_attached_though_its_metric_fails(tmp_path, monkeypatch):
    own_metric(tmp_path, monkeypatch, "return 1 / 0")
    searching = driver(tmp_path, lambda trial: recipe("small"), metrics=({"metric": "figure"},))
    seen: list[Screened | None] = []
    monkeypatch.setattr(searching.launcher, "attach", lambda job, told: seen.append(job.predicted))
    trial = searching.trials.stored.ask()
    trial.set_user_attr("job", {"engine": "local"})
    trial.set_user_attr("recipe", recipe("small").model_dump(mode="json"))
    assert not searching.starter.attach(searching.trials.reopen(searching.trials.all()[0]))
    assert seen == [None]


def test_a_space_that_cannot_be_asked_for_a_prefix_is_asked_anew(tmp_path):
    def suggest(trial):
        if not isinstance(trial, optuna.Trial):
            raise RuntimeError("a trial of Optuna's, please")
        return recipe("small")

    searching = driver(tmp_path, suggest, sampler={"prefix_reuse": 1.0})
    parent = optuna.trial.create_trial(
        values=[0.5, 1.0], user_attrs={"recipe": recipe("small").model_dump(mode="json")}
    )
    prefixes = ask.Prefixes(searching.study, suggest, searching.trials)
    assert prefixes._parent(0, SimpleNamespace(trials=[parent])) is None
