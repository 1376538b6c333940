"""What each block of a network bears, measured one block at a time."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from searcher import tasks
from searcher.compression.pipeline import run_recipe
from searcher.compression.store import Store
from searcher.compression.training import Run as Training
from searcher.config.recipe import Model, Quantize, Recipe, Train
from searcher.config.recipe_file import Provenance, RecipeFile
from searcher.costs.counting.executed import walk
from searcher.errors import SearcherError
from searcher.searching import sensitivity, techniques
from searcher.searching.sensitivity import Effect, Sensitivity, measure
from searcher.ui.html.sensitivity_page import sensitivity_page
from tests.conftest import Run

NET = Model(name="tests.test_sensitivity:family")
IMAGE = torch.zeros(1, 1, 8, 8)
RECIPE = Recipe(model=NET, stages=(Train(optimizer="adam", lr=0.01, weight_decay=0.0, batch_size=32),))


class First(nn.Module):
    def forward(self, x, ignored):
        return x + 0 * ignored


class Net(nn.Module):
    """What `idle` makes is multiplied by zero."""

    def __init__(self):
        super().__init__()
        self.busy = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU())
        self.idle = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 8, 1))
        self.join, self.classifier = First(), nn.Linear(128, 10)

    def forward(self, x):
        x = self.busy(x)
        return self.classifier(torch.flatten(self.join(x, self.idle(x)), 1))


def family():
    return Net()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Training:
    """A run whose store has the network."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs")
    task = tasks.entry("digits").load().trained_on(300)
    run = Training(task, 3, 0, torch.device("cpu"), lambda *_: None, store=Store(folder / "store"))
    run_recipe(RECIPE, run)
    return run


@pytest.fixture(scope="module")
def found(trained) -> Sensitivity:
    return measure(RECIPE, trained)


def test_only_the_block_that_matters_is_harmed(found):
    assert found.quality > 0.6
    assert list(found.params) == ["busy", "idle", "classifier"]
    assert found.params["idle"] == 8 * 16 + 16 + 16 * 8 + 8
    assert {found.loss(e) for e in found.effects if e.block == "idle"} == {0.0}
    harm = [found.loss(e) for e in found.effects if e.block == "busy" and e.technique.startswith("weights")]
    assert 0 < harm[-1] == max(harm)
    assert found.ordered()[0].block == "idle" or found.loss(found.ordered()[0]) < 0


def test_every_technique_is_tried_in_every_block(found):
    assert {(e.block, e.technique) for e in found.effects} == {
        (block, name) for block in found.params for name in techniques.TECHNIQUES
    }
    refused = {(e.block, e.technique): e.reason for e in found.effects if e.quality is None}
    assert {name for _, name in refused} == {f"channels -{ratio}%" for ratio in (30, 50, 70)}
    assert {block for block, _ in refused} == {"classifier"}
    assert "no layer whose channels could be removed" in refused["classifier", "channels -30%"]


def test_the_least_harmful_comes_first_and_what_cannot_be_done_last():
    effects = [Effect("a", "int8", 0.7), Effect("b", "int8", None, "why"), Effect("c", "int8", 0.92)]
    found = Sensitivity("net", "top1", 10, 0.9, {"a": 1, "b": 2, "c": 3}, effects)
    assert [effect.block for effect in found.ordered()] == ["c", "a", "b"]
    assert [found.loss(effect) for effect in effects] == [pytest.approx(20), None, pytest.approx(-2)]


def test_others_stay_as_they_came(trained):
    network = run_recipe(RECIPE, trained).architecture
    assert techniques.outside(network, ["busy.2", "idle"]) == [
        "busy.0",
        "busy.1",
        "busy.3",
        "join",
        "classifier",
    ]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    int8 = techniques.TECHNIQUES["int8"](network, ("idle",), trained).executed
    quantized = {n for n, m in int8.named_modules() if type(m).__module__.startswith("torch.ao.nn.quantized")}
    assert {name for name in quantized if name.startswith("idle")}
    assert not {name for name in quantized if name.startswith(("busy", "classifier", "join"))}
    sparse = techniques.TECHNIQUES["weights -50%"](network, ("busy",), trained).executed
    zeros = {name: int((p == 0).sum()) for name, p in sparse.named_parameters() if name.endswith("weight")}
    assert zeros == {"busy.0.weight": 72, "busy.2.weight": 576, "idle.0.weight": 0, "idle.2.weight": 0,
                     "classifier.weight": 0}  # fmt: skip
    fewer = techniques.TECHNIQUES["channels -50%"](network, ("busy",), trained).executed
    assert (fewer.busy[0].out_channels, fewer.busy[2].out_channels, fewer.idle[0].out_channels) == (8, 8, 16)
    factors = techniques.TECHNIQUES["half the rank"](network, ("classifier",), trained).executed
    assert [type(child) for child in factors.children()][-1] is nn.Sequential
    assert type(factors.busy[2]) is nn.Conv2d
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_codes_of_fewer_bits_have_fewer_values_in_the_block_alone(trained):
    network = run_recipe(RECIPE, trained).architecture
    for bits in techniques.BITS:
        made = techniques.TECHNIQUES[f"int{bits}"](network, ("busy",), trained)
        widths = {op.name: (op.weight_bits, op.output_bits) for op in walk(network, made.executed, IMAGE)}
        assert widths["busy.0"] == widths["busy.2"] == (bits, bits)
        assert widths["idle.0"] == widths["idle.2"] == widths["classifier"] == (32, 32)
        values = made.executed.get_submodule("busy.2").weight().int_repr()
        assert all(len(torch.unique(channel)) <= 2**bits for channel in values)


def test_two_bits_harm_and_eight_do_not(found):
    at = {e.technique: found.loss(e) for e in found.effects if e.block == "busy"}
    assert abs(at["int8"]) < 1
    assert at["int2"] > 3


def test_codes_of_fewer_bits_join_what_was_measured_before(trained, tmp_path: Path, found):
    # As a version without them has left it.
    before = measure(RECIPE, trained, tmp_path, ("int8",))
    said: list[str] = []
    again = measure(RECIPE, trained, tmp_path, ("int8", "int2"), step=lambda name, *_: said.append(name))
    assert again.of("int8") == before.of("int8")
    assert not [name for name in said if name.endswith("int8")]
    assert again.of("int2") == found.of("int2")
    assert len(list((tmp_path / sensitivity.FOLDER).glob("*.json"))) == 1


def test_what_was_measured_is_kept_and_goes_on(trained, tmp_path: Path, monkeypatch, found):
    said: list[str] = []
    few = ("weights -50%", "half the rank")

    def stop(name: str, done: int = 0, count: int = 0) -> None:
        said.append(name)
        if name == "idle, half the rank":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(RECIPE, trained, tmp_path, few, step=stop)
    assert "classifier, weights -50%" in said
    said.clear()
    again = measure(RECIPE, trained, tmp_path, few, step=lambda name, *_: said.append(name))
    assert set(said) == {"make the network", "idle, half the rank", "classifier, half the rank"}
    assert again.effects == [e for e in found.effects if e.technique in few]
    said.clear()
    assert measure(RECIPE, trained, tmp_path, few, step=lambda name, *_: said.append(name)) == again
    assert not said
    (place,) = (tmp_path / sensitivity.FOLDER).glob("*.json")
    place.write_text('{"damaged": ')
    assert measure(RECIPE, trained, tmp_path, few[:1]).effects == again.of(few[0])


def test_another_seed_or_fewer_images_are_measured_anew(trained, tmp_path: Path):
    measure(RECIPE, trained, tmp_path, ("weights -50%",))
    fewer = measure(RECIPE, trained, tmp_path, ("weights -50%",), images=50)
    assert fewer.images == 50
    measure(RECIPE, replace(trained, seed=1), tmp_path, ("weights -50%",), images=50)
    assert len(list((tmp_path / sensitivity.FOLDER).glob("*.json"))) == 3


def test_random_weights_are_refused(trained):
    with pytest.raises(SearcherError, match="has random weights, which nothing harms"):
        measure(Recipe(model=NET, stages=()), trained)


def test_the_page_has_every_cell(found):
    content = sensitivity_page(found)
    assert "heatmap" in content
    assert "least harmful first" in content
    assert content.count("<tr") >= len(found.effects)


@pytest.fixture
def weights(trained, place: Path) -> Path:
    torch.save(run_recipe(RECIPE, trained).architecture.state_dict(), place / "net.pt")
    return place / "net.pt"


def test_the_command_on_a_model_with_weights(run_command: Run, weights: Path, place: Path):
    asked = ["sensitivity", NET.name, "--data", "digits", "--weights", "net.pt", "--images", "100"]
    asked += ["--only", "int8", "--only", "weights -70%"]
    said = run_command(*asked, "--csv", "rows.csv", "-o", "page.html")
    assert said.returncode == 0, said.stderr
    assert "as it came, on 100 images of the validation split" in said.stdout
    with (place / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses)
    assert "Loss by block and technique" in (place / "page.html").read_text()
    listed = json.loads(run_command(*asked, "--json").stdout)
    assert [row["block"] for row in listed["rows"]] == [row["block"] for row in rows]
    # A page and a table of its own are written over, another file is not.
    assert run_command(*asked, "--csv", "rows.csv", "-o", "page.html").returncode == 0
    assert run_command(*asked, "-o", "rows.csv").returncode == 2


def test_the_command_on_a_study(run_command: Run, weights: Path, place: Path):
    study = f'task = "digits"\nspace = "module"\nmodel = {{name = "{NET.name}", weights = "net.pt"}}\n'
    budget = '[[objectives]]\nmetric = "top1"\ngoal = "maximize"\n[budget]\ntrials = 1\nepochs = 1\n'
    (place / "studies" / "own.toml").write_text(study + budget)
    said = run_command("sensitivity", "own", "--only", "int8", "--images", "50")
    assert said.returncode == 0, said.stderr
    assert "idle" in said.stdout
    assert "cannot be done" not in said.stdout
    refused = run_command("sensitivity", "own", "--only", "channels -30%", "--images", "50")
    assert "cannot be done: classifier, channels -30%: torch-pruning: the network has no" in refused.stdout


def test_the_command_on_an_exported_recipe(run_command: Run, place: Path):
    task = tasks.entry("digits").load()
    origin = {"study": "own@digits", "trial": 0, "task": "digits", "seed": 0, "epochs": 1}
    provenance = Provenance.model_validate(origin | {"data_fingerprint": task.fingerprint})
    stages = (*RECIPE.stages, Quantize())
    file = RecipeFile(format=1, recipe=Recipe(model=NET, stages=stages), provenance=provenance, expected={})
    file.save(place / "best.toml")
    said = run_command("sensitivity", "best.toml", "--only", "half the rank", "--images", "100")
    assert said.returncode == 0, said.stderr
    assert "half the rank" in said.stdout
    refused = run_command("sensitivity", "best.toml", "--set", "seed=1")
    assert refused.returncode == 2
    assert "--set: a recipe's file says all" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "--only", "int7"], "no technique named 'int7'; did you mean int8 or int4 or int2?"),
        (["tiny"], "study tiny has no model of its own and names no reference"),
        (["tiny", "--weights", "net.pt"], "--weights: a study or a recipe says it of its model"),
        (["densenet", "--data", "digits"], "model densenet has random weights"),
        (["densenet", "--data", "digits", "--weights", "none.pt"], "no file none.pt"),
        (["nothing"], "no study named 'nothing'"),
    ],
    ids=str,
)
def test_what_cannot_be_meant(run_command: Run, arguments: list[str], message: str):
    said = run_command("sensitivity", *arguments)
    assert said.returncode == 2
    assert message in said.stderr
