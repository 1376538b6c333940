"""One recipe over several values of a stage's parameter: the table that papers have of a compression."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import optuna
from pydantic import ValidationError

from searcher.config.recipe import STAGES, Recipe, Training
from searcher.config.study import Study
from searcher.errors import SearcherError, nearest, unknown
from searcher.execution.launcher import cores
from searcher.execution.layout import STORE, figures_of
from searcher.execution.local import run_jobs, start_server
from searcher.execution.messages import Done, Job, Outcome, Progress
from searcher.execution.results import stored_outcome
from searcher.searching.check import check_parts
from searcher.searching.identity import identify
from searcher.searching.storage.backends import make_runs

MAX_VALUES = 1000
"""Values that dots may stand for: each is a training."""

_DOTS = ("…", "...")


@dataclass(frozen=True)
class Setting:
    """A stage's parameter and the values that it takes in turn."""

    kind: str
    parameter: str
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """As it is given: ``prune_weights.sparsity``."""
        return f"{self.kind}.{self.parameter}"


@dataclass(frozen=True)
class Row:
    """One recipe of a sweep and what came of it."""

    value: Any
    recipe: Recipe
    outcome: Outcome


class View(Protocol):
    """Shows a sweep while it runs."""

    def progress(self, value: Any, progress: Progress) -> None:
        """The recipe with that value is so far."""

    def told(self, row: Row) -> None:
        """A recipe is done."""


def parse(text: str) -> Setting:
    """A setting from ``prune.sparsity=0,0.02,…,0.5``.

    The kind of stage may be shortened as long as one alone has the parameter; dots stand for values between,
    in steps as wide as that of the two before them.

    Raises:
        SearcherError: There is no such stage, parameter or value.
    """
    name, sign, given = text.partition("=")
    kind, dot, parameter = name.strip().partition(".")
    if not sign or not dot:
        raise SearcherError(f"--stage {text}: expected STAGE.PARAMETER=VALUES, e.g. prune.sparsity=0,0.1,0.2")
    fitting = [k for k, model in STAGES.items() if k.startswith(kind) and parameter in model.model_fields]
    fitting = [kind] if kind in fitting else fitting
    if len(fitting) != 1:
        named = [k for k in STAGES if k.startswith(kind)]
        if not named:
            raise unknown("stage", kind, STAGES)
        fields = sorted({f for k in named for f in STAGES[k].model_fields} - {"kind"})
        reason = (
            f"{', '.join(fitting)} have one" if fitting else f"no such parameter{nearest(parameter, fields)}"
        )
        raise SearcherError(f"--stage {text}: {reason}")
    return Setting(fitting[0], parameter, _values(text, given))


def _values(text: str, given: str) -> tuple[Any, ...]:
    parts = [part.strip() for part in given.split(",")]
    found: list[Any] = []
    for place, part in enumerate(parts):
        if part not in _DOTS:
            found.append(_value(part))
            continue
        last = _value(parts[place + 1]) if place + 1 < len(parts) else None
        numbers = [v for v in (*found[-2:], last) if isinstance(v, int | float)]
        if len(numbers) < 3 or numbers[1] <= numbers[0]:
            raise SearcherError(f"--stage {text}: dots need two rising numbers before them and one behind")
        step, start = numbers[1] - numbers[0], numbers[1]
        count = 1
        if (numbers[2] - start) / step > MAX_VALUES:
            raise SearcherError(f"--stage {text[:80]}: the dots stand for more than {MAX_VALUES:,} values")
        while start + count * step < numbers[2] - step / 2:
            found.append(round(start + count * step, 10))
            count += 1
    return tuple(found)


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if not math.isfinite(value):
            raise SearcherError(f"--stage: {text[:20]} is no finite number")
        return value
    return text


def base(study: Study) -> Recipe:
    """The first known configuration of a study's space.

    Raises:
        SearcherError: It knows none.
    """
    space = check_parts(study)
    if not space.known:
        raise SearcherError(
            f"space {study.space} has no known configuration to begin with: give --recipe FILE"
        )
    return space.suggest(optuna.trial.FixedTrial(space.known[0]))


def recipes(recipe: Recipe, settings: Sequence[Setting]) -> list[tuple[Any, Recipe]]:
    """The recipe with every value of the setting that has several; the others are set in all.

    A stage that the recipe has not is added, and trains as the recipe's first training does at half its
    learning rate; where its ratio or sparsity is 0 it is left out.

    Raises:
        SearcherError: No setting or more than one has several values, or a stage does not take one.
    """
    several = [s for s in settings if len(s.values) > 1] or list(settings[:1])
    if len(several) != 1:
        raise SearcherError("--stage: one parameter can take several values, the others one each")
    swept = several[0]
    found = []
    for value in swept.values:
        chosen = {s: s.values[0] for s in settings if s is not swept} | {swept: value}
        found.append((value, _with(recipe, chosen)))
    return found


def _with(recipe: Recipe, chosen: dict[Setting, Any]) -> Recipe:
    stages = [stage.model_dump() for stage in recipe.stages]
    for setting in chosen:
        if setting.kind not in [stage["kind"] for stage in stages]:
            stages.append({"kind": setting.kind} | _training(recipe, setting.kind))
    for stage in stages:
        stage |= {s.parameter: value for s, value in chosen.items() if s.kind == stage["kind"]}
    # What prunes nothing is no stage.
    off = [s.kind for s, value in chosen.items() if s.parameter == STAGES[s.kind].off_at_zero and value == 0]
    kept = [stage for stage in stages if stage["kind"] not in off]
    kept.sort(key=lambda stage: STAGES[stage["kind"]].rank or 0)
    try:
        return Recipe.model_validate({"model": recipe.model.model_dump(), "stages": kept})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][2:])
        if first["type"] == "value_error":  # of the whole stage, which says what it was given
            raise SearcherError(f"--stage: {first['ctx']['error']}") from error
        raise SearcherError(f"--stage: {where}: {first['msg']}, got {first['input']!r}") from error


def _training(recipe: Recipe, kind: str) -> dict[str, Any]:
    """The training of a stage that is added: that of the recipe's first one, at half its learning rate."""
    first = next((stage for stage in recipe.stages if isinstance(stage, Training)), None)
    if first is None or not issubclass(STAGES[kind], Training):
        return {}
    return {
        "optimizer": first.optimizer,
        "lr": first.lr / 2,
        "weight_decay": first.weight_decay,
        "batch_size": first.batch_size,
        "precision": first.precision,
    }


def sweep(study: Study, wanted: Sequence[tuple[Any, Recipe]], runs: Path, view: View) -> list[Row]:
    """Run every recipe of a sweep, one after another; what was run before is not run again.

    Args:
        study: Its task, budget, seed and metrics.
        wanted: The values and their recipes.
        runs: The runs folder; the recipes are kept under ``sweeps`` in it, what they share in the store.
        view: Told of each row as it comes, and of the epochs until then.
    """
    start_server()
    make_runs(runs)
    place = runs.absolute() / "sweeps" / study.stored_name / _conditions(study)
    rows = []
    for number, (value, recipe) in enumerate(wanted):
        folder = place / recipe.digest()
        folder.mkdir(parents=True, exist_ok=True)
        recipe.save(folder / "recipe.toml")
        store = runs.absolute() / STORE if study.store else None
        job = Job(study, number, recipe, folder, cores(), store)
        rows.append(Row(value, recipe, _before(job) or _now(job, partial(view.progress, value))))
        view.told(rows[-1])
    return rows


def _conditions(study: Study) -> str:
    """A name for what a row depends on besides its recipe: the data, the seed, the epochs, the metrics."""
    of_search = ("space", "space code", "objectives", "constraints", "metrics")
    told = {key: value for key, value in identify(study).items() if key not in of_search}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _before(job: Job) -> Done | None:
    """The outcome of an earlier sweep, where that has measured all that is wanted."""
    done = stored_outcome(job.folder, job.recipe)
    return done if done and all(m.key in done.metrics for m in job.study.measured()) else None


def _now(job: Job, progress: Callable[[Progress], None]) -> Outcome:
    ((_, outcome),) = run_jobs([job], 1, lambda _, said: progress(said))
    return outcome


def cells(rows: Sequence[Row], study: Study) -> list[dict[str, Any]]:
    """A row of figures for each recipe: the value, then every metric, or why there is none."""
    keys = [m.key for m in study.measured()]
    return [
        {"value": row.value}
        | (
            figures_of(row.outcome.measured) | {key: row.outcome.metrics[key] for key in keys}
            if isinstance(row.outcome, Done)
            else dict.fromkeys(keys) | {"reason": getattr(row.outcome, "reason", "")}
        )
        for row in rows
    ]
