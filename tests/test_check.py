"""What of a study is refused before anything runs: goals, bounds, metrics and samplers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.network import Network
from searcher.config.metric import Metric
from searcher.config.study import Study
from searcher.errors import SearcherError, TrialError
from searcher.execution.measurement import Measurement, measure, value
from searcher.execution.metrics import metric_functions, ranges
from searcher.searching.check import check_parts, describe
from searcher.searching.identity import identify
from tests.helpers.studies import TWO, refusal, study, write

TOP1, MACS = TWO


def test_the_study_that_the_others_are_changed_from_is_fine(here: Path):
    lines = describe(study(constraints=()), check_parts(study(constraints=())))
    assert lines[0] == "study told@digits is fine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objectives": (TOP1, TOP1 | {"goal": "minimize"})},
            "objectives: top1 is to be maximized and minimized: it can have one goal",
        ),
        ({"objectives": (TOP1, MACS, TOP1)}, "objectives: top1 is there 2 times"),
        (
            {"constraints": ({"metric": "top1", "at_least": 0.9}, {"metric": "top1", "at_most": 0.5})},
            "constraints: top1 >= 0.9 and top1 <= 0.5 exclude each other",
        ),
        (
            {"constraints": ({"metric": "top1", "at_least": 90.0},)},
            "constraint top1 >= 90.0: top1 is between 0 and 1: did you mean 0.90?",
        ),
        (
            {"constraints": ({"metric": "sparsity", "at_least": 12.5},)},
            "sparsity is between 0 and 1: did you mean 0.125?",
        ),
        ({"constraints": ({"metric": "top1", "at_least": -1.0},)}, "top1 is between 0 and 1"),
        (
            {"constraints": ({"metric": "macs", "at_most": -1.0},)},
            "macs <= -1.0: macs is 0 or more",
        ),
        ({"constraints": ({"metric": "size_mb", "at_most": -4.0},)}, "size_mb is 0 or more"),
    ],
)
def test_what_nothing_can_satisfy_is_refused(here: Path, changes: dict[str, Any], message: str):
    assert message in refusal(study(**changes))


def test_bounds_that_can_be_met_together_are_fine(here: Path):
    bounds = ({"metric": "top1", "at_least": 0.5}, {"metric": "top1", "at_most": 0.5}, *TWO[:0])
    check_parts(study(constraints=bounds))
    check_parts(study(constraints=({"metric": "top1", "at_least": 0.0}, {"metric": "macs", "at_most": 9e9})))


def test_a_users_metric_may_say_its_range_too(here: Path):
    own = "def mine(m):\n    return 3\nMETRICS = {'mine': mine}\nRANGES = {'mine': (1, 5)}\n"
    write(here / "objectives" / "mine.py", own)
    assert ranges()["mine"] == (1, 5)
    told = refusal(study(constraints=({"metric": "mine", "at_least": 6.0},)))
    assert told == "constraint mine >= 6.0: mine is between 1 and 5"
    write(here / "objectives" / "mine.py", own.replace("(1, 5)", "5"))
    assert "mine.py: RANGES: expected a dict from names to (least, largest)" in refusal()


def test_every_metric_that_comes_with_searcher_has_a_range(here: Path):
    assert set(ranges()) == set(metric_functions())


def test_more_training_images_than_there_are_are_refused(here: Path):
    def with_images(count: int) -> Study:
        return study(constraints=(), budget={"trials": 2, "epochs": 1, "train_images": count})

    check_parts(with_images(1077))
    assert "budget.train_images = 1,078: task digits has 1,077 training images" in refusal(with_images(1078))


def test_a_metric_does_not_take_the_place_of_another_of_its_name(here: Path):
    write(here / "objectives" / "mine.py", "def top1(m):\n    return 1.0\nMETRICS = {'top1': top1}\n")
    assert refusal().endswith("mine.py: metric top1 is searcher's own already: give yours another name")
    with pytest.raises(SearcherError, match="metric top1 is searcher's own already"):
        identify(study())
    for name in ("mine", "other"):
        write(here / "objectives" / f"{name}.py", "def f(m):\n    return 1.0\nMETRICS = {'f': f}\n")
    assert refusal().endswith("other.py already: give yours another name")


def test_a_file_of_the_same_name_stands_for_the_shipped_one_and_is_said(here: Path):
    write(here / "objectives" / "quality.py", "def top1(m):\n    return 1.0\nMETRICS = {'top1': top1}\n")
    lines = describe(study(constraints=()), check_parts(study(constraints=())))
    assert f"metric top1 is that of {here / 'objectives' / 'quality.py'}" in lines


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return '0.9'", "metric mine returned '0.9', of type str: expected a number"),
        ("return 'much'", "metric mine returned 'much', of type str: expected a number"),
        ("return None", "metric mine returned None, of type NoneType: expected a number"),
        ("return {'a': 1}", "metric mine returned {'a': 1}, of type dict: expected a number"),
        ("raise KeyError('x')", "metric mine: KeyError: 'x'"),
        ("return m.nothing", "metric mine: AttributeError"),
        ("raise SystemExit(0)", "metric mine ends Python with sys.exit(0)"),
    ],
)
def test_a_metric_that_gives_no_number_is_told_before_a_search(here: Path, body: str, message: str):
    write(here / "objectives" / "mine.py", f"def mine(m):\n    {body}\nMETRICS = {{'mine': mine}}\n")
    told = refusal(study(constraints=(), metrics=({"metric": "mine"},)))
    assert message in told
    assert told.endswith("tried on a network that is not trained")


@pytest.mark.parametrize(
    "body", ["return 1 / 0", "return float('nan')", "import torch; return torch.tensor(2)"]
)
def test_what_an_untrained_network_may_cause_is_passed_over(here: Path, body: str):
    write(here / "objectives" / "mine.py", f"def mine(m):\n    {body}\nMETRICS = {{'mine': mine}}\n")
    checked = study(constraints=(), metrics=({"metric": "mine"},))
    assert describe(checked, check_parts(checked))


def test_a_trial_names_the_metric_that_gave_no_number():
    task = tasks.entry("digits").load()
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    looked_at = Measurement(Network(network, network), task, task.validation)
    with pytest.raises(TrialError, match=r"metric mine returned '1', of type str: expected a number"):
        value(lambda m: "1", looked_at, Metric(metric="mine"))
    assert value(lambda m: torch.tensor([0.5]), looked_at, Metric(metric="mine")) == 0.5
    assert 0 <= measure(looked_at, [Metric(metric="top1")])["top1"] <= 1


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"options": {"n_startup_trials": "ten"}}, "sampler tpe: n_startup_trials = 'ten', expected int"),
        ({"options": {"n_startup_trials": True}}, "sampler tpe: n_startup_trials = True, expected int"),
        ({"options": {"multivariate": 1}}, "sampler tpe: multivariate = 1, expected bool"),
        ({"options": {"n_ei_candidates": 2.5}}, "sampler tpe: n_ei_candidates = 2.5, expected int"),
        ({"options": {"gamma": 3}}, "sampler tpe: gamma takes what no file can give"),
        ({"options": {"n_ei_candidates": -3}}, "sampler tpe with n_ei_candidates = -3: "),
        ({"name": "nsga2", "options": {"population_size": "x"}}, "population_size = 'x', expected int"),
        ({"name": "nsga2", "options": {"crossover": "x"}}, "crossover takes what no file can give"),
        ({"name": "nsga2", "options": {"mutation_prob": "x"}}, "mutation_prob = 'x', expected float"),
        ({"name": "gp", "options": {"n_startup_trials": [1]}}, "n_startup_trials = [1], expected int"),
        ({"name": "random", "options": {"n_startup_trials": 1}}, "no option of sampler random named"),
    ],
)
def test_an_option_of_the_wrong_type_is_told_as_the_samplers(
    here: Path, sampler: dict[str, Any], message: str
):
    told = refusal(study(constraints=(), sampler=sampler))
    assert message in told
    assert "tiny.py" not in told


def test_options_of_the_right_type_are_tried(here: Path):
    check_parts(study(constraints=(), sampler={"options": {"n_startup_trials": 3, "group": False}}))
