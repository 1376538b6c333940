"""`docs/lists.md` is what its generator makes, and has every registered name and every key of a study."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from searcher import models, tasks
from searcher.config.recipe import CRITERIA, STAGES
from searcher.config.study import StudyKeys
from searcher.config.toml import keys
from searcher.costs.scores import VARIANTS
from searcher.execution.metrics import metric_functions
from searcher.searching.samplers import SAMPLERS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "lists.md").read_text()

REGISTERED = {
    "Models": {*models.MODELS, "pkg.mod:function"},
    "Metrics": set(metric_functions()),
    "Tasks": set(tasks.TASKS),
    "Stages": set(STAGES),
    "Criteria": set(CRITERIA),
    "Score variants": set(VARIANTS),
    "Samplers": set(SAMPLERS),
}
"""The names that are there when nothing of a user's is, by the page's section."""


def rows(title: str) -> dict[str, list[str]]:
    """The cells of each row of a section's first table, by the name in its first cell."""
    section = re.search(rf"^##+ {re.escape(title)}\n(.+?)(?=^#|\Z)", PAGE, re.M | re.S)
    assert section, title
    lines = [line.strip("|").split(" | ") for line in section[1].splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


@pytest.mark.slow
def test_the_page_is_what_the_code_makes():
    code = "from docs.lists import made; print(made(), end='')"
    made = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout == PAGE, "python -m docs.lists makes it again"


@pytest.mark.parametrize("title", REGISTERED)
def test_a_list_has_every_name_and_no_other(title: str):
    assert REGISTERED[title]
    assert set(rows(title)) == REGISTERED[title]
    assert all(cells[0] for cells in rows(title).values())


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_has_every_parameter_and_no_other(kind: str):
    found = rows(f"`{kind}`")
    assert set(found) == set(STAGES[kind].model_fields) - {"kind"}
    for name, (_, default, _) in found.items():
        assert (default == "required") == STAGES[kind].model_fields[name].is_required(), name
    assert all(meaning for *_, meaning in found.values())


def every_key(path: Sequence[str | int] = ()) -> Iterator[str]:
    """The dotted path of every key of a study, as `--set` and the messages about a study know them."""
    for key in keys(StudyKeys, path):
        inner = keys(StudyKeys, (*path, key))
        in_array = keys(StudyKeys, (*path, key, 0))
        yield ".".join("[]" if part == 0 else str(part) for part in (*path, key)).replace(".[]", "[]")
        # A table's keys are not an array's: of an array the first entry has them.
        yield from every_key((*path, key, 0) if "metric" in in_array else (*path, key)) if inner else ()


def test_the_page_has_every_key_of_a_study_and_no_other():
    known = set(every_key())
    assert {"budget.trials", "objectives[].goal", "data.augment.flip", "warm_start.from", "when"} <= known
    assert set(rows("Study keys")) == known
    assert all(meaning for *_, meaning in rows("Study keys").values())
