"""The identity of a study: what must not change while it is stored."""

from typing import Any

from searcher import tasks
from searcher.config import catalog
from searcher.config.data import short
from searcher.config.study import Study
from searcher.execution.metrics import code_digest, metrics_code, timed


def identify(study: Study) -> dict[str, Any]:
    """A study's identity, which must not change while it is stored: else its figures are not comparable.

    Raises:
        SearcherError: The task's data is absent or damaged.
    """
    conditions = {"deployment": study.deployment.model_dump()} if timed(study.measured()) else {}
    return {
        "task": short(study.task),
        "data fingerprint": tasks.of(study).load().fingerprint,
        "space": study.space,
        "space code": code_digest(catalog.find("spaces", study.space).read_text(encoding="utf-8")),
        "objectives": [o.model_dump(exclude_none=True) for o in study.objectives],
        "constraints": [c.name for c in study.constraints],
        "metrics": [m.key for m in study.metrics],
        "metrics code": metrics_code(study.measured()),
        **({"model": study.model.model_dump(exclude_none=True)} if study.model else {}),
        "seed": study.seed,
        "epochs": study.budget.epochs,
        **({"train images": study.budget.train_images} if study.budget.train_images else {}),
        **conditions,
    }
