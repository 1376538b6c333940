import re
import stat
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

from searcher.errors import SearcherError
from searcher.searching.storage import studies
from searcher.ui.html.study_page import write_report
from tests.conftest import Run
from tests.helpers.studies import RECIPE, TWO, fail, store, study

SPREAD = [(0.4 + 0.04 * i, 100 * 1.4**i) for i in range(12)]
SCORE = {"metric": "micronet_score", "variant": "imt-2022", "goal": "minimize"}


class Texts(HTMLParser):
    """The page as a reader has it: tags by name, and text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def count(self, tag: str, **attrs: str) -> int:
        return sum(name == tag and attrs.items() <= found.items() for name, found in self.tags)


def read(path: Path) -> Texts:
    page = Texts()
    page.feed(path.read_text())
    return page


def reported(
    tmp_path: Path, rows: Sequence[Sequence[float]], seconds: float | None = 2.0, **changes: Any
) -> Texts:
    searched = study(**changes)
    store(tmp_path, searched, rows, seconds)
    write_report(tmp_path, searched.stored_name, tmp_path / "report.html")
    return read(tmp_path / "report.html")


def plots(page: Texts) -> int:
    return page.count("div", **{"class": "plot"})


def test_a_front_with_everything_around_it(tmp_path: Path):
    page = reported(tmp_path, SPREAD, reference={"name": "resnet18"})
    assert "Front: 9 trials" in page.text
    assert "resnet18, the study's reference, counted from shapes and not trained" in page.text
    assert "After: trial 3, the lowest macs that satisfies top1 >= 0.5" in page.text
    assert "top-1 accuracy not measured 52.00%" in page.text
    assert re.search(r"multiply-accumulates 34,644,992 274 ÷ 126,\d{3}\.\d\d, \+ better", page.text)
    assert "parameters 11,172,810" not in page.text, "the trial has no such figure"
    assert "a tenth of the range beyond the worst of the complete trials: top1 0.3560, macs" in page.text
    assert "by PED-ANOVA over 12 complete trials" in page.text
    assert plots(page) == 1 + 2 + 2 + 2
    assert page.count("tr", **{"data-trial": "3"}) == 2
    assert page.count("button", **{"data-compare": "3"}) == 1
    assert page.count("option", value="3") == 2
    assert page.count("option", value="3", selected=None) == 1, (
        "the best is shown first, beside the best quality"
    )
    assert page.count("option", value="11", selected=None) == 1


def test_nothing_complete(tmp_path: Path):
    page = reported(tmp_path, [])
    assert "No trial is complete yet" in page.text
    assert plots(page) == 0


def test_failures_are_counted_by_reason(tmp_path: Path):
    searched = study()
    store(tmp_path, searched, [])
    for reason in ("<i>too wide</i>", "<i>too wide</i>", "empty"):
        fail(tmp_path, searched, reason)
    write_report(tmp_path, searched.stored_name, tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert "trials reason 2 <i>too wide</i> 1 empty" in page.text
    assert "No trial is complete yet" in page.text
    assert "3 failed" in page.text


def test_one_trial(tmp_path: Path):
    page = reported(tmp_path, [(0.9, 1000)])
    assert "Front: 1 trial " in page.text
    assert "No hypervolume: it takes two complete trials" in page.text
    assert "Not known for macs: too few complete trials: 1, it takes 10" in page.text
    assert "No figures of a network before: the study names no reference" in page.text
    assert "side by side" not in page.text
    assert page.count("button", **{"data-compare": "0"}) == 0


def test_without_constraints(tmp_path: Path):
    page = reported(tmp_path, SPREAD, constraints=())
    assert "Front: 12 trials" in page.text
    assert "constraintsnone" in page.text
    assert "the lowest macs; quality is read on validation data" in page.text


def test_nothing_feasible(tmp_path: Path):
    page = reported(tmp_path, [(0.3, 10), (0.4, 20)])
    assert "No trial satisfies top1 >= 0.5: the front is shown without constraints." in page.text
    assert "After: trial 1, the nearest to the constraints" in page.text
    assert "on the front, misses top1 >= 0.5 by 10.00 points" in page.text


def test_one_objective_has_a_history_for_a_front(tmp_path: Path):
    page = reported(tmp_path, [(0.6,), (0.7,)], objectives=TWO[:1])
    assert "one objective spans no hypervolume" in page.text
    assert "the highest top1" in page.text
    assert plots(page) == 2


def test_three_objectives_are_drawn_in_pairs(tmp_path: Path):
    rows = [(*row, 0.01 * (12 - i)) for i, row in enumerate(SPREAD)]
    page = reported(tmp_path, rows, objectives=(*TWO, SCORE))
    assert plots(page) == 3 + 3 + 2 + 3
    assert "micronet_score:imt-2022, ↓ better" in (tmp_path / "report.html").read_text()


def test_a_detectors_figures_by_size_and_by_class(tmp_path: Path):
    searched = study(objectives=({"metric": "map", "goal": "maximize"}, TWO[1]), constraints=())
    store(tmp_path, searched, [(0.2, 900.0)])
    found = {"map": 0.3, "ar_small": 0.25, "map:cat": 0.4, "map50:cat": 0.6, "map:dog": 0.2, "map50:dog": 0.3}
    told = {"metrics": {"map": 0.3, "macs": 100.0}, "measured": {"detections": found}}
    told["recipe"] = RECIPE
    stored, _ = studies.load(tmp_path, searched.stored_name)
    stored.add_trial(create_trial(values=[0.3, 100.0], user_attrs=told))
    write_report(tmp_path, searched.stored_name, tmp_path / "report.html")
    text = read(tmp_path / "report.html").text
    assert "average recall, objects below 32² pixels not measured 25.00%" in text
    assert "By class class AP AP50 cat 40.00% 60.00% dog 20.00% 30.00%" in text


def test_trials_without_seconds(tmp_path: Path):
    page = reported(tmp_path, SPREAD, seconds=None)
    assert "By time: not known" in page.text


def test_a_value_that_all_trials_share(tmp_path: Path):
    page = reported(tmp_path, [(0.6, 10), (0.7, 10)])
    assert "all complete trials have the same value of an objective" in page.text


def test_everything_is_escaped(tmp_path: Path):
    name = "<b>&'\"<script>alert(1)"
    page = reported(tmp_path, SPREAD, name=name, reference={"name": "<u>no such net</u>"})
    assert f"Study {name}@digits" in page.text
    assert page.count("b") == page.count("u") == 0
    assert "no model named '<u>no such net</u>'" in page.text
    # The figures' own, the comparison's, plotly.js and the page's: none of a name.
    assert page.count("script") == plots(page) + 3


def test_nothing_is_asked_of_the_network(tmp_path: Path):
    page = reported(tmp_path, SPREAD)
    for _, attrs in page.tags:
        assert "src" not in attrs
        assert (attrs.get("href") or "data:").startswith("data:")


def test_written_in_one_step_where_it_can_be_written(tmp_path: Path):
    reported(tmp_path, SPREAD)
    before = (tmp_path / "report.html").read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(SearcherError, match="folder cannot be written: it is a folder"):
        write_report(tmp_path, "told@digits", folder)
    with pytest.raises(SearcherError, match=r"report\.html cannot be written: Not a directory"):
        write_report(tmp_path, "told@digits", tmp_path / "report.html" / "report.html")
    assert (tmp_path / "report.html").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) & stat.S_IRUSR


def test_the_command_says_where_the_page_is(run_command: Run, place: Path):
    store(place / "runs", study(), SPREAD)
    made = run_command("report", "told")
    assert made.returncode == 0, made.stderr
    assert made.stdout == "runs/told@digits/report.html\n"
    assert "Front: 9 trials" in read(place / made.stdout.strip()).text
    refused = run_command("report", "told", "-o", "no/such/page.html")
    assert refused.returncode == 2
    assert "no/such/page.html cannot be written" in refused.stderr
