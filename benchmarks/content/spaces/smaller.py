"""The micronet space for CIFAR-10 on one core: blocks of one or two layers, growth rates to 6."""

from typing import Any

from optuna import Trial

from searcher.config import catalog
from searcher.config.catalog import roots
from searcher.config.recipe import Distill, Model

_micronet = catalog.load(roots()[-1] / "spaces" / "micronet.py")
_distill = _micronet._distill


def _from_a_small_teacher(trial: Trial, student: Model) -> Distill:
    stage: Distill = _distill(trial, student)
    args: dict[str, Any] = {**stage.teacher.args, "blocks": [2, 2, 2, 2]}
    return stage.model_copy(update={"teacher": stage.teacher.model_copy(update={"args": args})})


vars(_micronet).update(
    DEPTHS={f"dense{number}": 2 for number in (1, 2, 3, 4)},
    GROWTH_RATES=(2, 6),
    _distill=_from_a_small_teacher,
)

suggest = _micronet.suggest
