"""The code in `docs/data.md` runs."""

import textwrap
from pathlib import Path

import pytest

from searcher.config.data import Augment, Data
from tests.conftest import Run

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def block(first: str) -> str:
    """The indented block of the page that begins with a line."""
    lines = PAGE[PAGE.index(f"    {first}") :].splitlines()
    end = next(place for place, line in enumerate(lines) if line and not line.startswith("    "))
    return textwrap.dedent("\n".join(lines[:end]))


@pytest.mark.slow
def test_the_task_of_the_page_can_be_searched(place: Path, run_command: Run):
    (place / "my_data.py").write_text(block("# my_data.py"))
    ran = run_command("check", "tiny", "--set", "task=my_data:make")
    assert ran.status == 0, ran.err
    assert "study tiny@my_data-make is fine" in ran.out
    own = ["--set", "task=my_data:make", "--set", "budget.trials=1", "--set", "budget.epochs=8"]
    ran = run_command("run", "tiny", *own, "--workers", "1")
    assert ran.status == 0, ran.out + ran.err
    assert "1 complete: tiny@my_data-make in runs" in ran.out


def test_the_table_of_the_page_has_every_key():
    text = block("[data]")
    for key in (*Data.model_fields, "shift", "flip"):
        assert f"{key} = " in text, key
    assert all(key in PAGE for key in Augment.model_fields)
