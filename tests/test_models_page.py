"""The example of `docs/models.md`, as it stands there."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import Run

PAGE = (Path(__file__).parent.parent / "docs" / "models.md").read_text()


def block(marker: str) -> str:
    """The block of the page that begins with a file's name."""
    found = re.search(rf"^( *)# {re.escape(marker)}\n(?:\1.*\n|\n)*?(?=```|\S)", PAGE, re.M)
    assert found
    return dedent(found[0])


@pytest.mark.slow
def test_the_example_runs(place: Path, run_command: Run):
    for name in ("nets.py", "studies/own.toml"):
        (place / name).write_text(block(name))
    commands = re.findall(r"^searcher (.+)$", PAGE, re.M)
    assert commands == ["check own", "run --study own"]
    checked, ran = (
        run_command(*text.split(), "--set", "budget.trials=2", "--set", "budget.epochs=1")
        for text in commands
    )
    assert (checked.status, ran.status) == (0, 0), checked.err + ran.err
    assert "constraints: macs <= 0.9x (" in checked.out
    assert "trial 0: top1" in ran.out
