"""What a reader is told of a retrained model."""

import math
from pathlib import Path

import pytest

from searcher.card import model_card, model_page
from searcher.curve import Point
from searcher.engines.onnx import Agreement
from searcher.recipe_file import Expected, RecipeFile
from searcher.retrain import Result, Retrained, compare
from tests.test_retrain import made

FILES = {"model.onnx": Agreement("top-1", 0.9, 0.9, 1.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"0" * 12_345)
    return tmp_path


def retrained(top1: float) -> tuple[RecipeFile, Result]:
    file = made(top1=Expected(value=0.9, tolerance=0.01, goal="maximize"))
    seeds = [Retrained(3, {"top1": top1}, {"top1": 0.8}, {}, {})]
    return file, Result(file.recipe.digest(), 1, seeds, compare(file, seeds))


def test_the_page_says_what_was_missed(folder: Path):
    met, missed = (model_page(*retrained(top1), FILES, folder, {}) for top1 in (0.95, 0.85))
    assert 'class="warning"' not in met
    assert '<p class="warning">top1: further from what was expected than the tolerance.</p>' in missed
    for page in (met, missed):
        assert '<td class="right" data-value="">± 0.0100</td>' in page
        assert "0.0123 MB" in page
        assert "budget of 1 epoch, seed 3." in page


def test_a_training_without_accuracies_is_not_drawn(folder: Path):
    curve = [Point(1.0, "quantize", 0, 1, math.nan)]
    assert "Training" not in model_page(*retrained(0.9), FILES, folder, {"seed 3": curve})
    trained = [Point(0.5, "train", 1, 1, 0.7), *curve]
    assert "<h2>Training</h2>" in model_page(*retrained(0.9), FILES, folder, {"seed 3": trained})


def test_a_card_of_a_file_written_by_hand(folder: Path):
    card = model_card(*retrained(0.9), FILES, folder)
    assert "| model.onnx | 0.0123 MB |" in card
    assert "Searched with" not in card
    assert "fingerprint" in card
