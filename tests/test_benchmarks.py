"""The benchmarks' page is what its results say, and a result says of which commit it is."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.figures import commit


def test_the_page_is_made_of_the_results():
    text, charts = page.made()
    assert (page.DOCS / "benchmarks.md").read_text() == text
    assert charts
    assert all((page.DOCS / name).read_text() == drawn for name, drawn in charts.items())


def test_every_figure_is_of_a_commit_or_says_that_it_is_not_known():
    named = re.findall(r"^`python -m benchmarks.* commit (.*)\.$", page.made()[0], re.MULTILINE)
    assert len(named) == len(re.findall(r"^## ", page.made()[0], re.MULTILINE))
    assert all(re.fullmatch(r"[0-9a-f]{7,}\+?|not recorded", name) for name in named)


def git(folder: Path, *args: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *who, *args], check=True, capture_output=True)


def test_a_commit_with_changed_code_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "inner").mkdir()
    assert commit(tmp_path) is None
    assert "the commit is not recorded: fatal: not a git repository" in capsys.readouterr().err
    git(tmp_path, "init")
    for name in ("code.py", "result.json"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    clean = commit(tmp_path / "inner")
    assert clean is not None
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    (tmp_path / "result.json").write_text("2")
    assert commit(tmp_path / "inner") == clean
    (tmp_path / "code.py").write_text("2")
    assert commit(tmp_path / "inner") == f"{clean}+"
