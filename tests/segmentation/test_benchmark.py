"""The rows of the published table, and what is made of them."""

import pytest

from benchmarks import segmentation
from searcher.compression.predict import predict
from searcher.config.recipe import Recipe

SETTING = segmentation.asked(["--epochs", "2", "--seeds", "3", "4", "--size", "32", "48"])


def row(miou: float, params: int = 5) -> dict[str, float]:
    return {"miou": miou, "params": params, "gmacs": 1.5, "size_mb": 2.0, "fps": 10.0, "validation_miou": 0.0}


def test_the_rows_are_recipes():
    named = segmentation.rows()
    assert len(named) == 11
    params = {}
    for name, stages in named.items():
        found = predict(Recipe(model=SETTING.model, stages=stages), (3, 32, 48), 11)
        assert found.ops is not None
        params[name] = sum(op.params for op in found.ops)
    assert params["full"] == params["full, int8"] == params["full, 16 bits"]
    assert params["half of blocks 1 and 2, FT"] == params["half of blocks 1 and 2, RI"]
    assert params["half of all blocks, LTH"] < params["half of blocks 1 and 2, LTH"] < params["full"]


def test_a_summary_is_over_the_seeds_and_of_what_is_there():
    assert segmentation.summary(SETTING, {})["ratio"] is None
    found = {
        "full, seed 3": row(0.5),
        "full, seed 4": row(0.6),
        "half of all blocks, FT, seed 3": row(0.4),
        "half of all blocks, RI, seed 3": row(0.2),
        "full, seed 5": row(0.9),
    }
    made = segmentation.summary(SETTING, found)
    assert made["ratio"] == pytest.approx(2)
    assert list(made["rows"]) == ["full", "half of all blocks, FT", "half of all blocks, RI"]
    assert made["rows"]["full"] == pytest.approx(
        {"mIoU": 0.55, "spread": 0.1, "seeds": 2, "params": 5, "gmacs": 1.5, "size_mb": 2, "fps": 10}
    )


def test_another_setting_has_rows_of_its_own():
    others = [["--epochs", "3"], ["--width", "0.5"], ["--images", "9"], ["--pyramid"], ["--size", "9", "9"]]
    assert len({segmentation.asked(other).digest for other in [*others, []]}) == len(others) + 1
