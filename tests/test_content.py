"""`searcher ls KIND`, and `searcher new`, which writes files that run as they are."""

import json

import pytest

from searcher import models, tasks
from searcher.config import catalog
from searcher.config.recipe import STAGES
from searcher.execution.metrics import metric_functions

TRIED = {
    "space": ["--set", "space=mine", "--set", "task=digits"],
    "metric": ["--set", 'metrics=[{metric="mine"}]', "--set", "task=digits"],
    "task": ["--set", "task=mine"],
}


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))


def test_everything_is_listed_with_a_line(run_command):
    known = {
        "models": set(models.MODELS),
        "metrics": set(metric_functions()),
        "tasks": set(tasks.TASKS),
        "spaces": set(catalog.files("spaces")),
        "stages": set(STAGES),
    }
    for what, names in known.items():
        listed = json.loads(run_command("ls", what, "--json").stdout)
        assert names <= set(listed), what
        assert all(line.strip() for line in listed.values()), what
        said = run_command("ls", what).stdout
        assert all(name in said for name in names)


def test_what_it_lists_must_be_known(run_command):
    said = run_command("ls", "modles")
    assert said.returncode == 2
    assert "models" in said.stderr


@pytest.mark.parametrize("kind", TRIED)
def test_a_new_file_runs_as_it_is(kind, run_command, place):
    said = run_command("new", kind, "mine")
    assert said.returncode == 0, said.stderr
    path = place / said.stdout.partition(";")[0]
    assert "NAME" not in path.read_text()
    checked = run_command("check", "micronet", *TRIED[kind])
    assert checked.returncode == 0, checked.stderr
    listed = run_command("ls", f"{kind}s", "--json")
    assert "mine" in json.loads(listed.stdout)
    again = run_command("new", kind, "mine")
    assert again.returncode == 2
    assert "already" in again.stderr


@pytest.mark.parametrize("name", ["my-space", "class", "1st", "_hidden", "../x", "micronet"])
def test_a_name_that_cannot_be_is_refused(name, run_command, place):
    said = run_command("new", "space", name)
    assert said.returncode == 2
    assert name in said.stderr
    assert not list(place.rglob("my-space*"))


@pytest.mark.slow
def test_a_new_task_and_a_new_space_are_searched(run_command, place):
    for kind, name in (("task", "halves"), ("space", "small")):
        assert run_command("new", kind, name).returncode == 0
    changes = ["task=halves", "space=small", "budget.trials=1", "budget.epochs=1", "constraints=[]"]
    settings = [word for change in changes for word in ("--set", change)]
    said = run_command("run", "--study", "micronet", *settings)
    assert said.returncode == 0, said.stderr
    assert "micronet@halves" in said.stdout
