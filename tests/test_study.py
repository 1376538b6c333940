from pathlib import Path

import pytest

from searcher.config import catalog
from searcher.config.metric import Constraint
from searcher.config.study import StudyFile
from searcher.errors import SearcherError

SHIPPED = sorted((Path(__file__).parent.parent / "studies").rglob("*.toml"))


def write(folder: Path, text: str, name: str = "mine") -> str:
    (folder / f"{name}.toml").write_text(text)
    return str(folder / f"{name}.toml")


def refusal(name: str, *overrides: str) -> str:
    with pytest.raises(SearcherError) as caught:
        StudyFile(name, overrides)
    return str(caught.value)


def test_there_are_shipped_studies():
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_study_loads_on_each_of_its_tasks(path: Path):
    file = StudyFile(str(path))
    for task in file.tasks:
        study = file.study(task)
        assert study.stored_name == f"{path.stem}@{task}"
        assert catalog.find("spaces", study.space).is_file()


def test_when_applies_to_its_task_alone():
    file = StudyFile("micronet")
    assert file.study("digits").budget.trials < file.study("cifar10").budget.trials


def test_set_wins_over_when():
    study = StudyFile("micronet", ["budget.trials=6", "task=digits"]).study("digits")
    assert study.budget.trials == 6
    assert study.task == "digits"


def test_extends_merges_tables(tmp_path: Path):
    name = write(tmp_path, 'extends = "micronet"\nseed = 7\n[budget]\nepochs = 3\n')
    study = StudyFile(name).study("cifar10")
    assert (study.seed, study.budget.epochs, study.budget.trials) == (7, 3, 200)


def test_extends_itself(tmp_path: Path):
    assert "extends itself" in refusal(write(tmp_path, 'extends = "mine.toml"\n'))


def test_all_errors_at_once_with_their_paths(tmp_path: Path):
    message = refusal(
        write(
            tmp_path,
            'extends = "micronet"\nspce = "x"\nseed = "3"\n[budget]\ntrials = 2.5\nepoch = 3\n'
            "[when.digits.budget]\ntrails = 3\n[when.digts.budget]\ntrials = 3\n",
        )
    )
    assert "seed: input should be a valid integer, got '3'" in message
    assert "budget.trials: input should be a valid integer, got 2.5" in message
    assert "budget.epoch: no such key; did you mean epochs?" in message
    assert "spce: no such key; did you mean space" in message
    assert "when.digits.budget.trails: no such key; did you mean trials or train_images?" in message
    assert "when.digts: not a task of this study; did you mean digits?" in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("budget.trals=3", "no such key; did you mean trials?"),
        ("bugdet.trials=3", "no such key; did you mean budget?"),
        ("budget.trials.deep=3", "no such key"),
        ("budget.trials=x", "budget.trials: input should be a valid integer, got 'x'"),
        ("budget.trials=0", "budget.trials: input should be greater than or equal to 1, got 0"),
        ("budget.trials", "expected KEY=VALUE"),
        ("task=3", "task: input should be a valid"),
    ],
)
def test_set_refuses(override: str, expected: str):
    assert expected in refusal("micronet", override)


def test_unknown_study_names_the_nearest():
    assert refusal("micronett") == "no study named 'micronett'; did you mean micronet?"


def test_not_toml(tmp_path: Path):
    assert "not TOML" in refusal(write(tmp_path, "task = [\n"))


def test_constraint_has_one_bound():
    assert "one of at_least and at_most" in refusal("micronet", 'constraints=[{metric="top1"}]')
    lower = Constraint(metric="top1", at_least=0.9)
    assert lower.violation(0.88) == pytest.approx(0.02)
    assert Constraint(metric="macs", at_most=10).violation(8) == -2
    assert str(lower) == "top1 >= 0.9"
