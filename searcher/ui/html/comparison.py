"""Two trials of a study side by side: their recipes part by part, and their figures, as a page needs them."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from searcher import models
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.searching.records import TrialRecord
from searcher.ui.comparison import Goal, goal_of
from searcher.wording import is_share, number

Parts = list[tuple[str, dict[str, str]]]
"""The parts of a recipe, the model and its stages by name, with their settings in words."""


def comparable(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that have a recipe and were measured."""
    records = ((t, TrialRecord.of(t)) for t in trials)
    return [t for t, record in records if record.stored_recipe and record.metrics]


def compared(study: Study, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Data of comparable trials for a page, as JSON: the metrics, and each trial's parts and figures."""
    return {
        "metrics": {
            m.key: {"share": is_share(m.key), "goal": _goals(study).get(m.key) or goal_of(m.key)}
            for m in study.measured()
        },
        "trials": {t.number: _trial(study, t) for t in trials},
    }


def parts(recipe: Recipe) -> Parts:
    """A recipe's model and stages, each with its settings; of a family of ours also those by default."""
    content = recipe.model_dump(mode="json")
    stages = [(stage.pop("kind").replace("_", " "), stage) for stage in content["stages"]]
    return [(name, dict(_flat(settings))) for name, settings in [("model", content["model"]), *stages]]


def _trial(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    record = TrialRecord.of(trial)
    metrics = record.metrics
    figures = {m.key: (metrics[m.key], number(metrics[m.key])) for m in study.measured() if m.key in metrics}
    return {"parts": parts(record.recipe), "figures": figures}


def _goals(study: Study) -> dict[str, Goal]:
    """The goals of the metrics that the study states one for."""
    bounds: dict[str, Goal] = {c.key: "maximize" if c.is_lower else "minimize" for c in study.constraints}
    return bounds | {o.key: o.goal for o in study.objectives}


def _flat(settings: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Settings and what is inside of them, ``teacher growth_rate``, in words; what is not set is left out."""
    found = []
    if "args" in settings:
        settings = {**settings, "args": _defaults(settings["name"]) | settings["args"]}
    for key, value in settings.items():
        # The arguments of a model are its own settings.
        name = before if key == "args" else f"{before} {key}".strip()
        if isinstance(value, Mapping):
            found += _flat(value, name)
        elif value is not None and key != "kind":
            found.append((name, _word(value)))
    return found


def _defaults(family: str) -> dict[str, Any]:
    """A family's own arguments where a recipe does not give them; the task decides the others."""
    known = inspect.signature(models.MODELS[family]).parameters if family in models.MODELS else {}
    every = {name: one.default for name, one in known.items() if one.default is not one.empty}
    return {name: value for name, value in every.items() if name not in ("in_channels", "classes")}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "-".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
