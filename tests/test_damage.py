"""Storages that are damaged: one line that says what still stands, and status 2; never a wrong table."""

import json
import sqlite3
from pathlib import Path

import pytest

from searcher.errors import SearcherError
from searcher.searching.status import status
from searcher.searching.storage import backends, studies
from searcher.ui.terminal.trials import frame, study_table
from tests.conftest import Ran, Run
from tests.helpers.studies import store, study

ROWS = [(0.5 + n / 100, 100.0 + n) for n in range(6)]


@pytest.fixture
def runs(place: Path) -> Path:
    return place / "runs"


def stored_in(runs: Path, kind: str) -> None:
    backends.make_runs(runs)
    backends.choose(runs, kind)
    store(runs, study(), ROWS)
    for number in range(2):
        folder = runs / "told@digits" / f"trial-{number:05}"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")


def one_line(ran: Ran, *expected: str) -> None:
    assert ran.status == 2, ran
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 1
    for text in expected:
        assert text in ran.err
    assert "2 trials still stand in" in ran.err


def test_a_page_of_the_database_that_was_overwritten_is_one_line_or_was_not_needed(runs: Path):
    stored_in(runs, "sqlite")
    path = runs / "optuna.db"
    whole = path.read_bytes()
    expected = table(runs)
    assert len(expected.splitlines()) == 1 + len(ROWS)
    refused = 0
    for page in range(0, len(whole) // 4096 - 1, 3):
        path.write_bytes(whole[: page * 4096] + b"\xa5" * 8192 + whole[(page + 2) * 4096 :])
        found = table(runs)
        if found != expected:
            assert "2 trials still stand in" in found
            assert len(found.splitlines()) == 1
            refused += 1
    assert refused > 2


def table(runs: Path) -> str:
    """All trials as CSV, or why they cannot be read."""
    try:
        stored, searched = studies.load(runs, studies.resolve(runs, "told")[0])
        return frame(searched, stored, every=True).to_csv()
    except SearcherError as error:
        return str(error)


@pytest.mark.parametrize("content", [b"", b"\n", b"\x80\xff\x00binary", b"sqllite"])
def test_a_damaged_choice_is_one_line(run_command: Run, runs: Path, content: bytes):
    stored_in(runs, "sqlite")
    (runs / "storage.txt").write_bytes(content)
    for args in (["show", "told"], ["ls"], ["status"]):
        one_line(run_command(*args), "runs/storage.txt is damaged", "in the folder: sqlite (optuna.db)")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"op_code": 77, "worker_id": "x"}, "AssertionError"),
        ({"worker_id": "x"}, "KeyError: 'op_code'"),
        ({"op_code": 4, "worker_id": "x"}, "KeyError: 'study_id'"),
        ({"op_code": 2, "worker_id": "x", "study_id": 0}, "KeyError: 'user_attr'"),
        ([], "TypeError"),
    ],
)
def test_a_journal_line_that_cannot_be_followed_is_one_line(
    run_command: Run, runs: Path, line: object, expected: str
):
    stored_in(runs, "journal")
    path = runs / "optuna.journal"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], json.dumps(line), lines[-1]]) + "\n")
    for args in (["show", "told"], ["ls"], ["status"], ["cancel", "told"]):
        one_line(run_command(*args), f"optuna.journal, at line {len(lines)}, cannot be used", expected)


def test_an_emptied_database_beside_trials_is_not_taken_for_a_new_one(run_command: Run, runs: Path):
    stored_in(runs, "sqlite")
    (runs / "optuna.db").write_bytes(b"")
    one_line(run_command("status"), "the storage of runs holds no study")


def forget(runs: Path, table: str, key: str, where: str = "") -> None:
    with sqlite3.connect(runs / "optuna.db") as database:
        cursor = database.execute(f"DELETE FROM {table} WHERE key = ? {where}", [key])
        assert cursor.rowcount > 0


@pytest.mark.parametrize("key", ["metrics", "recipe"])
def test_a_trial_without_an_attribute_is_left_out_and_counted(run_command: Run, runs: Path, key: str):
    stored_in(runs, "sqlite")
    forget(runs, "trial_user_attributes", key, "AND trial_id = 6")
    shown = run_command("show", "told", "--all")
    assert shown.status == 0
    assert f"1 trial damaged (trial 5: its {key}" in shown.out
    assert "damaged" in next(line for line in shown.out.splitlines() if line.split()[:1] == ["5"])
    front = run_command("show", "told")
    assert "front, 5 points" in " ".join(front.out.split())
    assert status(runs, "told@digits").counts == "5 complete, 1 damaged"
    for args in (["export", "--study", "told", "--pick", "5"], ["cost", "told#5"]):
        ran = run_command(*args)
        assert ran.status == (0 if args[0] == "cost" and key == "metrics" else 2)


@pytest.mark.parametrize("attribute", ["study", "identity"])
def test_a_study_without_an_attribute_is_one_line(run_command: Run, runs: Path, attribute: str):
    stored_in(runs, "sqlite")
    if attribute == "study":
        with sqlite3.connect(runs / "optuna.db") as database:
            database.execute("UPDATE study_user_attributes SET value_json = '\"{}\"' WHERE key = 'study'")
        one_line(run_command("show", "told"), "study told@digits in runs is damaged", "missing")
    else:
        forget(runs, "study_user_attributes", attribute)
        one_line(run_command("export", "--study", "told"), "its identity")


def test_what_is_stored_of_a_table_is_shown(runs: Path):
    stored_in(runs, "journal")
    stored, searched = studies.load(runs, "told@digits")
    assert len(study_table(searched, stored, every=True).trials) == len(ROWS)
