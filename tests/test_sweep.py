from pathlib import Path

import optuna
import pytest

from searcher.compression.predict import predict
from searcher.config.recipe import Model, PruneChannels, PruneWeights, Quantize, Recipe, Train
from searcher.config.study import StudyFile
from searcher.errors import SearcherError
from searcher.searching.check import check_parts
from searcher.searching.sweep import base, parse, recipes
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
        ("prume.sparsity=1", "no stage named .prume.; known: distill, low_rank, prune_channels"),
        ("prune.sparsty=1", "did you mean sparsity"),
        ("prune.lr=1,2", "prune_channels, prune_weights have one"),
        ("quant.observer=minmax", "quantize, quantize_aware have one"),
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


DETECTION = (Path(__file__).parents[1] / "docs" / "detection.md").read_text()
PUBLISHED = "prune.sparsity=0,0.02,0.04,0.05,0.08,0.1,0.15,0.2,0.25,0.3,0.5"


def test_convolutions_are_swept_as_published():
    study = StudyFile("navya").study("digit-scenes")
    found = dict(recipes(base(study), [parse(PUBLISHED), parse("prune_weights.layers=convolutions")]))
    assert list(found) == [0, 0.02, 0.04, 0.05, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5]
    assert f"--stage {PUBLISHED} \\\n    --stage prune_weights.layers=convolutions" in DETECTION
    assert found.pop(0) == base(study)
    for sparsity, recipe in found.items():
        (stage,) = (stage for stage in recipe.stages if isinstance(stage, PruneWeights))
        assert (stage.sparsity, stage.layers, stage.precision) == (sparsity, "convolutions", "fp32")
        ops = predict(recipe, (1, 64, 64), 10).ops
        assert ops is not None
        convolutions = [op for op in ops if op.kind == "conv"]
        weights, nonzero = (sum(getattr(o, key) for o in convolutions) for key in ("weights", "nonzero"))
        assert 1 - nonzero / weights == pytest.approx(sparsity)


def test_mixed_precision_is_a_row_of_its_own():
    study = StudyFile("navya").study("digit-scenes")
    found = dict(recipes(base(study), [parse("train.precision=fp32,bf16")]))
    assert [recipe.stages[0].precision for recipe in found.values()] == ["fp32", "bf16"]
    space = check_parts(study)
    known = [space.suggest(optuna.trial.FixedTrial(params)) for params in space.known]
    assert known == list(found.values())
    assert {recipe.words() for recipe in known} == {
        "ssd_mobilenet_v2 width=1.0 finest=16 extras=2; fp32",
        "ssd_mobilenet_v2 width=1.0 finest=16 extras=2; bf16",
    }


def test_a_stage_whose_ratios_alone_remove_is_no_stage_that_is_off():
    pruned = PruneChannels(ratio=0, ratios={"stem": 0.5})
    recipe = Recipe(model=Model(name="densenet"), stages=(Train(), pruned))
    found = dict(recipes(recipe, [parse("prune_channels.round_to=1,4")]))
    assert found[4].stages == (Train(), pruned.model_copy(update={"round_to": 4}))
    assert recipes(recipe, [parse("prune_channels.ratio=0,0.5")])[0][1].stages == (Train(),)


def test_values_that_exclude_each_other():
    dynamic = RECIPE.model_copy(update={"stages": (Train(), Quantize(dynamic=True))})
    with pytest.raises(SearcherError, match=r"^--stage: quantize: dynamic .* takes no weight_bits$"):
        recipes(dynamic, [parse("quantize.weight_bits=4,8")])


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
