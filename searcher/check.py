"""Before a search: every part of a study exists, and what must not change while it is stored."""

import hashlib
import io
import tokenize
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna

from searcher import catalog, tasks
from searcher.errors import SearcherError
from searcher.measure import check_metrics
from searcher.study import Study


def load_space(study: Study) -> ModuleType:
    """The study's space.

    Raises:
        SearcherError: There is none of that name, or it does not run.
    """
    return catalog.load(catalog.find("spaces", study.space))


def identify(study: Study) -> dict[str, Any]:
    """What must not change while a study is stored: a figure measured otherwise is not comparable.

    Raises:
        SearcherError: The task's data is absent or damaged.
    """
    return {
        "task": study.task,
        "data fingerprint": tasks.entry(study.task).load().fingerprint,
        "space": study.space,
        "space code": _code_digest(catalog.find("spaces", study.space)),
        "objectives": [o.model_dump(exclude_none=True) for o in study.objectives],
        "constraints": [str(c) for c in study.constraints],
        "metrics": [m.key for m in study.metrics],
        "seed": study.seed,
        "epochs": study.budget.epochs,
    }


def _code_digest(path: Path) -> str:
    """A digest of a Python file that layout and comments do not change."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING}
    tokens = tokenize.tokenize(io.BytesIO(path.read_bytes()).readline)
    return hashlib.sha256("\0".join(t.string for t in tokens if t.type not in skipped).encode()).hexdigest()[
        :16
    ]


def check_study(study: Study) -> list[str]:
    """Try a study's parts without training: every known configuration and a drawn one must make a recipe.

    Raises:
        SearcherError: A part is missing or does not fit.
    """
    space = load_space(study)
    check_metrics(study.measured())
    identity = identify(study)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=study.seed)).ask()
    known = getattr(space, "ENQUEUE", [])
    try:
        recipes = [space.suggest(optuna.trial.FixedTrial(params)) for params in known]
        recipes.append(space.suggest(drawn))
    except Exception as error:
        raise SearcherError(f"space {study.space}: {type(error).__name__}: {error}") from error
    return [
        f"study {study.stored_name} is fine",
        f"data fingerprint {identity['data fingerprint']}",
        f"space {study.space}: {len(known)} known configurations, {len(drawn.params)} parameters drawn",
        f"  e.g. {recipes[-1].words()}",
        f"objectives: {', '.join(f'{o.goal} {o.key}' for o in study.objectives)}",
        f"constraints: {', '.join(map(str, study.constraints)) or 'none'}",
        f"budget: {study.budget.trials} trials, {study.budget.epochs} epochs each",
    ]
