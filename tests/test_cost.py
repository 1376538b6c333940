"""`searcher cost` and `searcher measure`: what they are asked about, what they print, what they refuse."""

import io
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

from searcher.config.recipe import PruneWeights, Quantize, Recipe, Train
from searcher.costs.counting.recorder import record
from searcher.costs.scores import score
from searcher.ui.commands.target import resolve, untrained
from searcher.ui.terminal.costs import LayerTable, variant_table
from tests.conftest import Run
from tests.test_cli import refused

RECIPE = """
[recipe.model]
name = "densenet"
[recipe.model.args]
growth_rate = 4
groups_1x1 = 2
groups_3x3 = 2
[[recipe.stages]]
kind = "train"
[[recipe.stages]]
kind = "quantize"
"""
NETS = """
from torch import nn


def plain():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Hardshrink(), nn.Flatten(), nn.Linear(288, 4))


class Branch(nn.Module):
    def forward(self, x):
        return x if x.mean() > 0 else -x


def branching():
    return Branch()


def mlp():
    return nn.Linear(5, 3)


def number():
    return 3
"""


@pytest.fixture
def recipe(place: Path) -> Path:
    (place / "nets.py").write_text(NETS)
    (place / "best.toml").write_text(RECIPE)
    return place / "best.toml"


def test_a_recipe_as_a_table_and_as_csv(run_command: Run, recipe: Path, place: Path):
    result = run_command("cost", "best.toml", "--csv", "cost.csv")
    assert result.returncode == 0, result.stderr
    assert "best.toml, predicted from shapes, for an input of 3×32×32" in result.stdout
    rows = pd.read_csv(place / "cost.csv")
    assert rows["weights"].sum() + rows["biases"].sum() == 70_922
    assert rows["macs"].sum() == 7_935_232
    assert set(rows["bits"]) == {8}
    assert "0.017067" in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines() if line.endswith("executed      32 ")] == [
        "imt-2022", "imt-2025", "micronet-2019", "micronet-2019-imagenet", "micronet-2019-wikitext",
    ]  # fmt: skip


def test_a_function_and_what_is_not_counted(run_command: Run, recipe: Path):
    result = run_command("cost", "nets:plain", "--input", "1,3,8,8")
    assert result.returncode == 0, result.stderr
    assert "not counted: aten::hardshrink in the network, 1 times" in result.stdout
    assert "* at least: less what is not counted" in result.stdout
    measured = run_command("measure", "nets:plain", "--input", "1,3,8,8", "--runs", "5", "--batch", "2")
    assert measured.returncode == 0, measured.stderr
    for text in ("MB, weights as they are executed", "median", "images/s", "batch 2, 1 threads", "torch 2."):
        assert text in measured.stdout


def test_a_reference_has_the_score_it_is_the_reference_of(recipe: Path):
    ops, how = resolve("micronet", recipe.parent, "1,3,32,32", 10).ops()
    assert "3×32×32" in how
    assert score(ops, "imt-2022").value == pytest.approx(2.0, abs=1e-7)
    assert score(ops, "imt-2022").ops == 834_362_870


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["cost", "micronett"], "no study named 'micronett'; did you mean micronet?"),
        (["cost", "tiny"], "study tiny names no reference"),
        (["cost", "tiny#0"], "nothing is stored in runs yet"),
        (["cost", "no.toml"], "no.toml: No such file or directory"),
        (["cost", "bad.toml"], "  model.nam: no such key; did you mean name?"),
        (["cost", "nets:plane"], "no function in nets named 'plane'; did you mean plain?"),
        (["cost", "netz:plain"], "cannot import 'netz'"),
        (["cost", "nets:number"], "expected a torch.nn.Module, got int"),
        (["cost", "nets:plain", "--input", "1,1,8,8"], "does not run on an input of 1,1,8,8: Given groups=1"),
        (["cost", "nets:plain", "--input", "8,8"], "--input 8,8: expected a batch of one"),
        (["measure", "branching.toml"], "branching.toml: quantize: Branch cannot be traced"),
        (["measure", "nets:plain", "--input", "1,3,8,8", "--device", "cuda"], "there is no cuda"),
        (["cost", "best.toml", "--csv", "no/where.csv"], "no/where.csv cannot be written"),
    ],
)
def test_bad_input_is_one_message(run_command: Run, recipe: Path, args: list[str], expected: str):
    if "cuda" in args:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is cuda on this machine")
    (recipe.parent / "branching.toml").write_text(
        '[recipe]\nmodel = {name = "nets:branching"}\nstages = [{kind = "quantize"}]\n'
    )
    (recipe.parent / "bad.toml").write_text('[recipe]\nmodel = {nam = "densenet"}\nstages = []\n')
    assert expected in refused(run_command(*args))


def test_a_network_that_is_no_image_model(run_command: Run, recipe: Path):
    result = run_command("cost", "nets:mlp", "--input", "1,5")
    assert result.returncode == 0, result.stderr
    assert "15" in result.stdout


def test_untrained_keeps_what_shapes_and_widths_depend_on():
    stages = (Train(), PruneWeights(sparsity=0.5), Quantize(exclude={"stem": 16}))
    recipe = Recipe.model_validate({"model": {"name": "densenet"}, "stages": stages})
    assert [stage.kind for stage in untrained(recipe).stages] == ["prune_weights", "quantize"]
    assert untrained(recipe).stages[0] == PruneWeights(sparsity=0.5, share=0.0)


@pytest.mark.parametrize(
    ("layer", "marked"), [(nn.Hardshrink(), True), (nn.ReLU(), False), (nn.PReLU(), False)], ids=repr
)
def test_a_score_that_does_not_have_it_all_is_marked(layer: nn.Module, marked: bool):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(variant_table(record(nn.Sequential(nn.Conv2d(3, 4, 1), layer), torch.rand(1, 3, 4, 4))))
    rows = [
        line.split() for line in console.export_text().splitlines() if line.startswith((" imt", " micro"))
    ]
    assert [row[1].endswith("*") for row in rows] == [marked] * 5


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_table_fits_its_console(width: int, recipe: Path):
    ops, _ = resolve(str(recipe), recipe.parent, None, 10).ops()
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(LayerTable(ops))
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert ("kind" in text) == (width >= 120)
