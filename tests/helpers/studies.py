"""Stored studies whose trials were told and not trained, for what is shown of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from searcher.config.recipe import Model, Quantize, Recipe, Train
from searcher.config.study import Study
from searcher.errors import SearcherError
from searcher.searching.check import check_parts, describe
from searcher.searching.storage import backends, studies

TWO = ({"metric": "top1", "goal": "maximize"}, {"metric": "macs", "goal": "minimize"})
BOUND = ({"metric": "top1", "at_least": 0.5},)


def study(**changes: Any) -> Study:
    content = {
        "name": "told",
        "task": "digits",
        "space": "tiny",
        "objectives": TWO,
        "constraints": BOUND,
        "budget": {"trials": 20, "epochs": 2},
    }
    return Study.model_validate(content | changes)


def write(path: Path, text: str) -> None:
    """A file of a user's, in a folder that may not be there yet."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def refusal(searched: Study | None = None) -> str:
    """What `searcher check` says against a study, by default against what `tiny` is here."""
    asked = searched or study(constraints=())
    try:
        describe(asked, check_parts(asked))
    except SearcherError as error:
        return str(error)
    raise AssertionError("the study is fine")


def store(runs: Path, searched: Study, rows: Sequence[Sequence[float]], seconds: float | None = 2.0) -> None:
    """Store a study whose trials have these values of its measured metrics, in that order."""
    backends.make_runs(runs)
    identity = {"data fingerprint": "0123456789abcdef", "space code": "fedcba9876543210"}
    stored = studies.create_or_load(runs, searched, identity)
    (runs / searched.stored_name).mkdir(exist_ok=True)
    stored.add_trials([_complete(searched, number, row, seconds) for number, row in enumerate(rows)])


def fail(runs: Path, searched: Study, reason: str) -> None:
    """Store one more trial, that failed."""
    stored = optuna.load_study(study_name=searched.stored_name, storage=backends.open_storage(runs))
    told = {"outcome": "failed", "reason": reason}
    stored.add_trial(create_trial(state=TrialState.FAIL, user_attrs=told, **_drawn(0)))


def _complete(searched: Study, number: int, row: Sequence[float], seconds: float | None) -> FrozenTrial:
    metrics = dict(zip([m.key for m in searched.measured()], row, strict=True))
    drawn = _drawn(number)
    told = {"metrics": metrics, "recipe": _recipe(drawn["params"]).model_dump(mode="json")}
    return create_trial(
        values=[metrics[o.key] for o in searched.objectives],
        user_attrs=told | ({} if seconds is None else {"seconds": seconds}),
        constraints={str(c): c.violation(metrics[c.key]) for c in searched.constraints},
        **drawn,
    )


def _drawn(number: int) -> dict[str, Any]:
    return {
        "params": {"growth_rate": 2 + number % 11, "int8": number % 3 == 0},
        "distributions": {
            "growth_rate": IntDistribution(2, 12),
            "int8": CategoricalDistribution([False, True]),
        },
    }


RECIPE = Recipe(model=Model(name="densenet", args={}), stages=(Train(),)).model_dump(mode="json")
"""A recipe as a trial keeps it, where it does not matter which."""


def _recipe(params: dict[str, Any]) -> Recipe:
    args = {"growth_rate": params["growth_rate"], "blocks": [1, 1, 1, 1]}
    stages = (Train(), Quantize()) if params["int8"] else (Train(),)
    return Recipe(model=Model(name="densenet", args=args), stages=stages)
