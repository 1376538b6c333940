import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard

from searcher.searching.storage import studies
from searcher.ui.dashboard.publish import artifact_store, publish
from tests.helpers.studies import RECIPE, fail, store, study

ROWS = [(0.6, 100.0), (0.4, 10.0), (0.8, 300.0), (0.7, 400.0)]


def attributes(runs: Path) -> dict[str, Any]:
    stored, _ = studies.load(runs, "told@digits")
    return stored._storage.get_study_system_attrs(stored._study_id)


def notes(runs: Path) -> list[str]:
    stored, _ = studies.load(runs, "told@digits")
    return [optuna_dashboard._note.get_note_from_system_attrs(attributes(runs), t._trial_id)["body"]
            for t in stored.trials]  # fmt: skip


def drawn(runs: Path, name: str = "feasible-front") -> dict[str, Any]:
    objects = optuna_dashboard._custom_plot_data.get_plotly_graph_objects(attributes(runs))
    return json.loads(objects[name])


def points(figure: dict[str, Any]) -> dict[str, list[int]]:
    return {trace["name"]: trace["customdata"] for trace in figure["data"]}


def test_the_front_is_the_feasible_one_and_is_replaced(tmp_path: Path):
    store(tmp_path, study(), ROWS)
    assert publish(tmp_path, "told@digits") == ""
    figure = drawn(tmp_path)
    assert figure["layout"]["title"]["text"] == "Feasible front"
    assert points(figure) == {"misses a constraint": [1], "other trials": [3], "front": [2, 0]}
    assert "densenet k=4" in figure["data"][-1]["hovertext"][0]

    stored, _ = studies.load(tmp_path, "told@digits")
    told = {"metrics": {"top1": 0.9, "macs": 1.0}, "seconds": 1.0, "recipe": RECIPE}
    stored.add_trial(optuna.trial.create_trial(
        values=[0.9, 1.0], constraints={}, user_attrs=told
    ))  # fmt: skip
    assert publish(tmp_path, "told@digits") == ""
    assert points(drawn(tmp_path))["front"] == [4]


def test_without_a_feasible_trial_the_title_says_so(tmp_path: Path):
    store(tmp_path, study(), [(0.3, 10.0), (0.4, 20.0)])
    publish(tmp_path, "told@digits")
    assert drawn(tmp_path)["layout"]["title"]["text"] == "Nothing feasible: front without constraints"
    assert points(drawn(tmp_path)) == {"front, constraints ignored": [1, 0]}


def test_nothing_complete_draws_nothing(tmp_path: Path):
    store(tmp_path, study(), [])
    fail(tmp_path, study(), "broken")
    assert publish(tmp_path, "told@digits") == ""
    assert not [key for key in attributes(tmp_path) if "plot_data" in key]
    assert "(broken)\n\nTrial 0: failed." in notes(tmp_path)[0]


def test_a_note_has_words_figures_and_verdict(tmp_path: Path):
    store(tmp_path, study(), ROWS)
    publish(tmp_path, "told@digits")
    first, second = notes(tmp_path)[:2]
    assert "- densenet k=2 1-1-1-1\n- int8\n" in first
    assert "| macs | 100 |" in first
    assert "complete, satisfies top1 \\>= 0.5" in first
    assert "complete, misses top1 \\>= 0.5 by 10.00 points." in second


def test_a_note_does_without_seconds(tmp_path: Path):
    store(tmp_path, study(constraints=()), ROWS, seconds=None)
    assert publish(tmp_path, "told@digits") == ""
    assert "seconds" not in notes(tmp_path)[0]
    assert "Trial 0: complete." in notes(tmp_path)[0]


def test_a_note_that_was_edited_is_kept(tmp_path: Path):
    store(tmp_path, study(), ROWS)
    publish(tmp_path, "told@digits")
    stored, _ = studies.load(tmp_path, "told@digits")
    optuna_dashboard.save_note(optuna.Trial(stored, stored.trials[1]._trial_id), "mine")
    publish(tmp_path, "told@digits")
    assert notes(tmp_path)[1] == "mine"


def test_files_are_found_by_the_dashboard(tmp_path: Path):
    store(tmp_path, study(), ROWS)
    folder = tmp_path / "told@digits" / "trial-00002"
    folder.mkdir()
    for name in ("recipe.toml", "log.txt", "curve.csv", "cost.tmp"):
        (folder / name).write_text(f"this is {name}")
    publish(tmp_path, "told@digits")
    stored, _ = studies.load(tmp_path, "told@digits")
    third = stored.trials[2]
    listed = optuna_dashboard.artifact._backend.list_trial_artifacts(attributes(tmp_path), {}, third)
    assert {meta["filename"] for meta in listed} == {"recipe.toml", "log.txt", "curve.csv"}
    for meta in listed:
        with artifact_store(tmp_path).open_reader(meta["artifact_id"]) as file:
            assert file.read() == f"this is {meta['filename']}".encode()
    before = attributes(tmp_path)
    publish(tmp_path, "told@digits")
    assert attributes(tmp_path) == before


def test_a_storage_that_cannot_be_written_is_a_line(tmp_path: Path):
    store(tmp_path, study(), ROWS)
    (tmp_path / "told@digits" / "trial-00000").mkdir()
    (tmp_path / "told@digits" / "trial-00000" / "log.txt").touch()
    (tmp_path / "artifacts").touch()
    assert publish(tmp_path, "told@digits").startswith(
        "told@digits: the dashboard lacks the front, notes and files: "
    )


def test_a_driver_and_a_trial_do_without_plotly():
    modules = "searcher.searching.loop, searcher.execution.worker, searcher.ui.terminal.search"
    code = f"import sys, {modules}; assert 'plotly' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
