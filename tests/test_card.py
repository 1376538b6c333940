"""What a reader is told of a retrained model."""

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from searcher import tasks
from searcher.config.recipe_file import Expected, RecipeFile
from searcher.deploy import package
from searcher.deploy.agreement import Agreement
from searcher.deploy.package import Delivery
from searcher.deploy.retrain import Result, Retrained, compare
from searcher.execution.curve import Point
from searcher.ui.commands import deploy
from searcher.ui.html.model_card import model_card, model_page, use
from tests.test_retrain import made

FILES = {"model.onnx": Agreement("top-1", 0.9, 0.9, 1.0)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"0" * 12_345)
    return tmp_path


def retrained(top1: float, epochs: int = 4, **seed: Any) -> tuple[RecipeFile, Result]:
    file = made(top1=Expected(value=0.9, tolerance=0.01, goal="maximize"))
    seeds = [Retrained(3, {"top1": top1}, {"top1": 0.8}, seed.get("before", {}), seed.get("after", {}))]
    return file, Result(file.recipe.digest(), epochs, seeds, compare(file, seeds))


def told(page: str) -> list[tuple[str, str]]:
    """The lines of the verdict, the first thing below the head, with what they are marked as."""
    verdict = page[page.index("</header>") : page.index("Expected and retrained")]
    assert "<h2>Verdict</h2>" in verdict
    return [(text, mark) for mark, text in re.findall(r'<li class="(\w+)">(.*?)</li>', verdict)]


def test_the_page_begins_with_what_was_met_and_what_was_missed(folder: Path):
    met, missed = (model_page(*retrained(top1), FILES, folder, "fed so", {}) for top1 in (0.95, 0.85))
    agrees = (
        "model.onnx agrees: 100.00% of its predictions are equal, top-1 0.9000 for the network&#39;s 0.9000.",
        "good",
    )
    assert told(met) == [("Met: top1.", "good"), agrees]
    off = "MISSED: top1, 0.8500 for 0.9000 ± 0.0100, is off by 5.00 points."
    assert told(missed) == [(off, "bad"), agrees]
    assert '<td class="right good" data-value="">met</td>' in met
    assert '<td class="right bad" data-value="">MISSED</td>' in missed
    for page in (met, missed):
        assert '<td class="right" data-value="">0.9000 ±\u00a00.0100</td>' in page
        assert "0.0123 MB" in page
        assert "fed so" in page
        assert "budget of 4 epochs, seed 3." in page


def test_a_file_that_does_not_agree_and_a_short_budget_are_said_at_once(folder: Path):
    files = FILES | {"model.int8.onnx": Agreement("top-1", 0.9, 0.88, 0.94)}
    lines = told(model_page(*retrained(0.9, epochs=1), files, folder, "", {}))
    assert lines[1] == ("SHORT: a budget of 1 epoch, where the search had 4.", "bad")
    text, mark = lines[3]
    assert mark == "bad"
    assert text.startswith("model.int8.onnx DISAGREES: 94.00% of its predictions are equal, top-1 0.8800")
    card = model_card(*retrained(0.9, epochs=1), files, folder, "")
    assert card.index("model.int8.onnx DISAGREES") < card.index("## Expected and retrained")


@pytest.mark.parametrize(("share", "status"), [(0.94, 3), (0.96, 0)])
def test_a_retraining_ends_with_3_where_a_file_does_not_compute_what_the_network_does(
    share: float,
    status: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    file, result = retrained(0.9)
    file.save(folder / "told.toml")
    delivery = Delivery(result, {"model.onnx": Agreement("top-1", 0.9, 0.9, share)}, {})
    monkeypatch.setattr(package, "finished", lambda *args: delivery)
    ended = contextlib.nullcontext() if not status else pytest.raises(typer.Exit)
    with ended as raised:
        deploy.retrain(folder / "told.toml", output=folder)
    said = "model.onnx does not compute what the network does: 94.00% of its predictions are equal"
    assert (said in capsys.readouterr().out) is bool(status)
    assert not status or raised.value.exit_code == status


def test_what_got_worse_is_marked_in_words(folder: Path):
    figures = retrained(0.9, before={"top1": 0.95, "fps": 10.0}, after={"top1": 0.9, "fps": 20.0})
    page = model_page(*figures, FILES, folder, "", {})
    assert '<td class="right bad" data-value="">-5.00 points, −\u00a0worse</td>' in page
    assert '<td class="right good" data-value="">×\u00a02.00, +\u00a0better</td>' in page


def test_the_outputs_are_those_of_the_task():
    classes = use(tasks.entry("digits").load(), {"logits": (10,)})
    assert "Inputs are `images` (N, 1, 8, 8)" in classes
    assert "Outputs are `logits` (N, 10), a logit for each class." in classes
    scenes = tasks.entry("digit-scenes").load()
    boxes = use(scenes, {"map0": (90, 8, 8), "map1": (90, 4, 4)})
    assert "Outputs are `map0` (N, 90, 8, 8), `map1` (N, 90, 4, 4), maps of a grid" in boxes
    assert "with 6 boxes a cell: 4 numbers of its place, a logit of the background" in boxes
    assert "10 logits of classes" in boxes
    assert "logits (N" not in boxes
    one = use(scenes, {"map0": (15, 8, 8)})
    assert "with 1 box a cell: 4 numbers of its place, a logit of whether there is an object" in one


def test_a_training_without_accuracies_is_not_drawn(folder: Path):
    curve = [Point(1.0, "quantize", 0, 1, math.nan)]
    assert "<h2>Training" not in model_page(*retrained(0.9), FILES, folder, "", {"seed 3": curve})
    trained = [Point(0.5, "train", 1, 1, 0.7), *curve]
    drawn = model_page(*retrained(0.9), FILES, folder, "", {"seed 3": trained})
    assert "<h2>Training</h2>" in drawn
    assert "validation top-1" in drawn


def test_a_card_of_a_file_written_by_hand(folder: Path):
    card = model_card(*retrained(0.9), FILES, folder, "fed so")
    assert "- Met: top1.\n- model.onnx agrees" in card
    assert "fed so" in card
    assert "| model.onnx | 0.0123 MB |" in card
    assert "Exported with" not in card
    assert "fingerprint" in card
