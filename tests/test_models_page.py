"""The example of `docs/models.md`, as it stands there."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import Run

PAGE = (Path(__file__).parent.parent / "docs" / "models.md").read_text()


BLOCKS = {
    "nets.py": r"^ {4}# nets\.py\n(?: {4}.*\n|\n)+",
    "studies/own.toml": r"(?<=```toml\n)# studies/own\.toml\n(?:(?!```).*\n)+",
}
"""The page's blocks by the files that they are."""


@pytest.mark.slow
def test_the_example_runs(place: Path, run_command: Run):
    for name, pattern in BLOCKS.items():
        found = re.search(pattern, PAGE, re.M)
        assert found
        (place / name).write_text(dedent(found[0]))
    commands = re.findall(r"^searcher (.+)$", PAGE, re.M)
    assert commands == ["check own", "run --study own"]
    checked, ran = (
        run_command(*text.split(), "--set", "budget.trials=2", "--set", "budget.epochs=1")
        for text in commands
    )
    assert (checked.status, ran.status) == (0, 0), checked.err + ran.err
    assert "constraints: macs <= 0.9x (" in checked.out
    assert "trial 0: top1" in ran.out
