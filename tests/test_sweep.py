from pathlib import Path

import pytest

from searcher.config.recipe import Model, PruneWeights, Quantize, Recipe, Train
from searcher.errors import SearcherError
from searcher.searching.sweep import parse, recipes
from tests.conftest import Run

RECIPE = Recipe(model=Model(name="densenet"), stages=(Train(), Quantize()))


def test_a_setting_is_parsed():
    found = parse("prune.sparsity=0,0.1,…,0.5")
    assert found.name == "prune_weights.sparsity"
    assert found.values == (0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert parse("prune_channels.criterion=l1,random").values == ("l1", "random")
    assert parse("quantize.calibration_images=64").values == (64,)
    assert parse("prune.sparsity=0,0.02,0.04,...,0.1").values == (0, 0.02, 0.04, 0.06, 0.08, 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prune.sparsity", "expected STAGE.PARAMETER=VALUES"),
        ("prume.sparsity=1", "no stage named .prume.; known: distill, prune_channels"),
        ("prune.sparsty=1", "did you mean sparsity"),
        ("prune.lr=1,2", "prune_channels, prune_weights have one"),
        ("prune.sparsity=0,...,1", "two rising numbers"),
    ],
)
def test_what_is_no_setting(text: str, message: str):
    with pytest.raises(SearcherError, match=message):
        parse(text)


def test_a_stage_is_added_where_it_belongs_and_left_out_at_0():
    found = dict(recipes(RECIPE, [parse("prune.sparsity=0,0.3"), parse("prune_weights.share=0.5")]))
    assert found[0] == RECIPE
    assert found[0.3].stages == (Train(), PruneWeights(sparsity=0.3, share=0.5, lr=0.05), Quantize())


def test_a_value_that_the_stage_does_not_take():
    with pytest.raises(SearcherError, match=r"less than 1, got 1\.5"):
        recipes(RECIPE, [parse("prune.sparsity=0.1,1.5")])
    with pytest.raises(SearcherError, match="one parameter can take several values"):
        recipes(RECIPE, [parse("prune.sparsity=0.1,0.5"), parse("train.lr=0.1,0.2")])


@pytest.mark.slow
def test_a_sweep_makes_a_table_and_is_not_run_twice(place: Path, run_command: Run):
    asked = ["sweep", "tiny", "--stage", "prune.sparsity=0,0.3", "--csv", "rows.csv"]
    result = run_command(*asked)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tiny@digits, prune_weights.sparsity" in result.stdout
    lines = (place / "rows.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "30.0% sparse" in lines[2]
    again = run_command(*asked)
    assert again.returncode == 0
    assert again.stdout == result.stdout
    other = run_command(*asked, "--set", "budget.epochs=1")
    assert other.returncode == 0, other.stdout + other.stderr
    assert other.stdout.splitlines()[:2] != result.stdout.splitlines()[:2]
