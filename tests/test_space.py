"""What of a space is refused before anything runs, and what of a suggestion fails its trial."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from searcher.config import catalog
from searcher.errors import SearcherError
from searcher.searching.check import check_parts
from searcher.searching.space import words
from tests.conftest import TINY_SPACE
from tests.helpers.studies import refusal, study, write


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\n\ndef suggest",
            "\nraise SystemExit(0)\ndef suggest",
            "line 6: ends Python with sys.exit(0)",
        ),
        ("    args =", "    raise SystemExit('no')\n    args =", "line 8: ends Python with sys.exit('no')"),
        (
            "    args =",
            "    import sys\n    sys.exit()\n    args =",
            "line 9: ends Python with sys.exit",
        ),
        ("tuple(stages)", "()", "tiny.py: ENQUEUE[0]: suggest returned a recipe without stages"),
        ("return Recipe(", "return str(", "ENQUEUE[0]: TypeError"),
        (
            '"growth_rate": 4',
            '"growth_rate": 40',
            "tiny.py: ENQUEUE[0]: growth_rate = 40, expected a whole number from 2 to 6",
        ),
        ('"growth_rate": 2,', '"growth_rate": 2.5,', "ENQUEUE[1]: growth_rate = 2.5, expected a whole"),
        ('"growth_rate": 2,', '"growth_rate": "4",', "ENQUEUE[1]: growth_rate = '4', expected a whole"),
        ('"growth_rate": 2,', '"growth_rate": True,', "ENQUEUE[1]: growth_rate = True, expected a whole"),
        ('"int8": True', '"int8": "yes"', "ENQUEUE[0]: int8 = 'yes', expected one of False, True"),
        (
            "    stages =",
            '    trial.suggest_int("growth_rate", 2, 8)\n    stages =',
            "ENQUEUE[0]: parameter growth_rate is asked twice, as a whole number from 2 to 6 and as a whole "
            "number from 2 to 8",
        ),
        (
            "    stages =",
            '    trial.suggest_float("growth_rate", 2, 6)\n    stages =',
            "as a whole number from 2 to 6 and as a number from 2.0 to 6.0",
        ),
        (
            "    stages =",
            '    trial.suggest_categorical("growth_rate", [2, 4])\n    stages =',
            "parameter growth_rate is asked twice",
        ),
        (
            "    stages =",
            '    if args["growth_rate"] == 4:\n        trial.suggest_int("more", 1, 2)\n'
            '    else:\n        trial.suggest_float("more", 1, 2)\n    stages =',
            "parameter more is sometimes",
        ),
    ],
)
def test_a_space_that_cannot_be_meant_is_refused(here: Path, old: str, new: str, message: str):
    text = TINY_SPACE.replace('"int8": True}', '"int8": True, "more": 1}').replace(
        '"int8": False}', '"int8": False, "more": 1}'
    )
    text = text if '"more"' in new else TINY_SPACE
    assert old in text
    (here / "spaces" / "tiny.py").write_text(text.replace(old, new))
    assert message in refusal()


def test_the_same_parameter_asked_twice_alike_is_one(here: Path):
    text = TINY_SPACE.replace("    stages =", '    trial.suggest_int("growth_rate", 2, 6)\n    stages =')
    (here / "spaces" / "tiny.py").write_text(text)
    check_parts(study(constraints=()))


def test_a_suggestion_of_a_search_is_held_to_the_same(here: Path):
    """A SearcherError there fails the trial: whatever else a space does must be one."""
    flag = here / "flag"
    text = TINY_SPACE.replace(
        "    args =",
        f"    import os\n    if os.path.exists({str(flag)!r}):\n        raise SystemExit(0)\n    args =",
    )
    (here / "spaces" / "tiny.py").write_text(text)
    space = check_parts(study(constraints=()))
    flag.touch()
    with pytest.raises(SearcherError, match=r"tiny\.py, line 10: ends Python with sys\.exit\(0\)"):
        space.suggest(optuna.create_study().ask())


def test_objectives_that_end_python_are_told_with_their_line(here: Path):
    write(here / "objectives" / "mine.py", "METRICS = {}\nraise SystemExit\n")
    assert refusal().endswith("mine.py, line 2: ends Python with sys.exit(None); it may define names alone")


def test_ctrl_c_in_a_space_is_no_error_of_it(here: Path):
    (here / "spaces" / "tiny.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        catalog.load(here / "spaces" / "tiny.py")


@pytest.mark.parametrize(
    ("distribution", "text"),
    [
        (optuna.distributions.IntDistribution(2, 8, step=2), "a whole number from 2 to 8 in steps of 2"),
        (
            optuna.distributions.FloatDistribution(1, 2, log=True),
            "a number from 1.0 to 2.0, by its logarithm",
        ),
        (optuna.distributions.CategoricalDistribution(["a", None]), "one of 'a', None"),
    ],
)
def test_what_a_parameter_may_be_in_words(distribution: Any, text: str):
    assert words(distribution) == text


def test_a_parameter_that_a_search_keeps_may_be_beyond_a_range_that_hangs_on_another(here: Path):
    drawn = TINY_SPACE.replace("2, 6)", 'trial.suggest_int("least", 2, 6), 6)')
    (here / "spaces" / "tiny.py").write_text(drawn + "\nENQUEUE = []\n")
    space = check_parts(study(constraints=()))
    search = optuna.create_study()
    search.enqueue_trial({"least": 5, "growth_rate": 3})
    with pytest.warns(UserWarning, match="growth_rate with value 3 is out of range"):
        assert space.suggest(search.ask()).model.args["growth_rate"] == 3
    with pytest.raises(SearcherError, match="growth_rate = 3, expected a whole number from 5 to 6"):
        space.suggest(optuna.trial.FixedTrial({"least": 5, "growth_rate": 3, "int8": False}))
