"""`searcher.search` and the front that it returns."""

import copy
import json
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

import searcher
from searcher import tasks
from searcher.errors import SearcherError
from searcher.recipe import Train
from searcher.searching import loop

BUDGET = ("macs <= 0.8x", "top1 >= -0.3")


def net(outputs=10):
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, outputs)),
    )


class Searched:
    """A network that was trained, and its search."""

    def __init__(self, runs):
        self.runs = runs
        self.task = tasks.entry("digits").load()
        self.model = searcher.compress(
            net(), [Train(optimizer="adam", lr=0.01)], self.task, epochs=4
        ).executed
        self.before = copy.deepcopy(self.model.state_dict())
        self.front = self.search(self.model)

    def search(self, model):
        return searcher.search(
            model, self.task, budget=BUDGET, trials=5, epochs=2, runs=self.runs, name="small"
        )

    def quality(self, model):
        return self.task.top1(model, self.task.validation)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    return Searched(tmp_path_factory.mktemp("api") / "runs")


@pytest.mark.slow
def test_the_front_is_within_the_budgets_and_sorted_by_cost(searched):
    front = searched.front
    came = front.best("0")
    assert came.figures["top1"] == pytest.approx(searched.quality(searched.model))
    assert came.recipe.stages == ()
    assert front.feasible
    assert len(front) >= 1
    sizes = [point.figures["size_mb"] for point in front]
    assert sizes == sorted(sizes)
    assert all(point.figures["macs"] <= 0.8 * came.figures["macs"] for point in front)
    assert front.best() is front[0]  # the budget says what top1 is enough
    assert front.best(f"size_mb<={sizes[0]}") is front[0]
    assert front.best("knee") in list(front)
    assert list(front.frame()["trial"]) == [point.number for point in front]
    assert front.name == "small@digits"
    assert "small@digits, front" in repr(front)
    assert front[0].recipe.words()[:60] in repr(front)
    assert f"trial {front[0].number}: top1 " in repr(front[0])


@pytest.mark.slow
def test_a_point_makes_the_network_that_was_measured_and_nothing_trains(searched):
    store = searched.runs / "store"
    before = [path for path in store.rglob("*") if path.suffix != ".lock"]
    random = torch.get_rng_state()
    for point in [*searched.front, searched.front.best("0")]:
        assert searched.quality(point.model) == pytest.approx(point.figures["top1"])
        assert not point.model.training
        assert point.model is point.model
    assert set(before) == {path for path in store.rglob("*") if path.suffix != ".lock"}
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.slow
def test_the_given_network_stays(searched):
    after = searched.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in searched.before.items())


@pytest.mark.slow
def test_the_same_call_finds_what_is_stored_and_another_network_is_refused(searched, capsys):
    again = searched.search(copy.deepcopy(searched.model))
    assert [point.number for point in again] == [point.number for point in searched.front]
    assert "trial" not in capsys.readouterr().out.removeprefix("small@digits: 5 trials")
    with pytest.raises(SearcherError, match="the Sequential that was given has other weights, or other code"):
        searched.search(net())


@pytest.mark.slow
def test_a_point_is_exported_into_a_folder_of_its_own(searched, tmp_path):
    best = searched.front.best()
    files = best.export(tmp_path / "out")
    assert {"metrics.json", "model.onnx", "model.safetensors", "recipe.toml"} <= {path.name for path in files}
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert told["figures"]["top1"] == best.figures["top1"]
    assert best.export(tmp_path / "out") == files
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.onnx").write_text("mine")
    with pytest.raises(SearcherError, match="has files of its own"):
        best.export(tmp_path / "other")


SCRIPT = """
import sys
import torch
from torch import nn
import searcher

print("begun")

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, num_classes))

    def forward(self, x):
        return self.layers(x)

front = searcher.search(Net, "digits", trials=1, epochs=1, workers=1)
print(f"{front.best().model.__class__.__name__}: {len(front)}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["a script without a guard", "standard input"])
def test_a_class_of_the_main_module_is_searched(way, tmp_path):
    script = tmp_path / "five.py"
    script.write_text(SCRIPT)
    given = [str(script)] if way == "a script without a guard" else ["-"]
    done = subprocess.run(
        [sys.executable, *given], input=SCRIPT, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("begun") == 1
    assert lines[-1] == "Net: 1"
    assert any(line.startswith("trial 0: top1 ") for line in lines)
    log = (tmp_path / "runs" / "Net@digits" / "trial-00000" / "log.txt").read_text()
    assert "begun" not in log


def test_a_network_of_other_outputs_is_refused_before_anything_is_stored(tmp_path):
    with pytest.raises(SearcherError, match=r"model Sequential .*expected 2×10"):
        searcher.search(net(outputs=3), "digits", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budget": "macs < 0.5x"}, "budget 'macs < 0.5x': expected a metric"),
        ({"name": "a/b"}, "name 'a/b': expected letters"),
        ({"trials": 0}, "budget.trials"),
        ({"data": "digitz"}, "did you mean digits"),
        ({"model": 3}, "model: expected a network, a function or a name, got 3"),
        ({"cost": "sise_mb"}, "sise_mb"),
        ({"model": "densenett"}, "no model named 'densenett'"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(given, said, tmp_path):
    call = {"model": "densenet", "data": "digits", "runs": tmp_path / "runs"} | given
    with pytest.raises(SearcherError, match=said):
        searcher.search(**call)


def test_a_network_that_saw_no_batch_is_said_to_be_untrained(tmp_path, capsys):
    with pytest.raises(SearcherError, match="cost"):
        searcher.search(net(), "digits", cost="cost", runs=tmp_path)
    assert "warning: Sequential has never been trained" in capsys.readouterr().out


def test_a_loop_in_another_thread_leaves_ctrl_c_to_the_main_one():
    seen = []

    def inside():
        with loop._first_interrupt() as event:
            seen.append(event.is_set())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [False]
