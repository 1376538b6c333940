"""The versions that are allowed, those of the build machines, and what the documents say of them."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
ALLOWED = [(canonicalize_name(r.name), r.specifier) for asked in ASKED for r in map(Requirement, asked)]
TORCH = dict(ALLOWED)[canonicalize_name("torch")]
BUILT_WITH = {
    canonicalize_name(name): pinned
    for name, pinned in (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
}


@pytest.mark.parametrize(
    "release", ["2.11.0", "2.11.0+cu130", "2.12.1+cu126", "2.13.0+cpu", "2.14.1+rocm7.1"]
)
def test_a_build_of_torch_of_ones_own_is_kept(release):
    assert release in TORCH


@pytest.mark.parametrize("release", ["2.10.0+cu128", "2.15.0", "3.0.0"])
def test_a_torch_that_was_not_tried_is_not(release):
    assert release not in TORCH


@pytest.mark.parametrize(("name", "allowed"), ALLOWED)
def test_the_build_machines_have_what_is_allowed(name, allowed):
    assert BUILT_WITH[name] in allowed


def test_the_torch_of_these_tests_is_allowed():
    assert version("torch") in TORCH


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md"])
def test_a_document_names_the_range(document):
    said = re.findall(r"torch (\d+)\.(\d+) to (\d+)\.(\d+)", (ROOT / document).read_text())
    assert said
    for major, lowest, last, highest in said:
        assert Requirement(f"torch>={major}.{lowest},<{last}.{int(highest) + 1}").specifier == TORCH
