"""What can be done with a study's model: each stage tried once on the network without its weights."""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from pydantic import ValidationError

from searcher import tasks
from searcher.compression.blocks import Blocks, blocks
from searcher.compression.build import check_weights
from searcher.compression.cached import identity
from searcher.config.data import Data
from searcher.config.examined import Examined
from searcher.config.recipe import (
    Distill,
    Model,
    PruneChannels,
    PruneWeights,
    Quantize,
    Recipe,
    Stage,
    Train,
)
from searcher.errors import SearcherError, first_line
from searcher.execution.rehearsal import BEFORE, REHEARSAL_IMAGES, rehearse
from searcher.files import in_one_step
from searcher.models import build
from searcher.tasks.base import Task
from searcher.version import __version__

ENDING = ".examined"
"""The suffix of what was found of a model, in the store."""

_RATIO = 0.5
"""Of what is tried to be removed."""

_STEPS = 100
"""The least steps of an epoch, where the smallest batch allows it."""


def examine(model: Model, task: str, data: Data | None = None, store: Path | None = None) -> Examined:
    """A model as a space sees it; found once for a model, its code, its weights and a task.

    Args:
        model: The model.
        task: The task.
        data: How its data is read, where it is of one's own.
        store: The folder that keeps it, beside this process.

    Raises:
        SearcherError: The model cannot be built or trained, or its weights do not fit.
    """
    entry = tasks.entry(task, data)
    whole = bool(model.weights) and not check_weights([model], entry.image, entry.classes)
    conditions = data.model_dump_json() if data else ""
    depends = [model.model_dump(), identity(model), task, conditions, entry.image, entry.classes, __version__]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32]
    place = store / f"{digest}{ENDING}" if store else None
    if place and place.is_file():
        try:
            return Examined.model_validate_json(place.read_text(encoding="utf-8"))
        except ValidationError:  # of another version
            place.unlink()
    found = _examined(model.model_dump_json(), task, conditions, digest, whole)
    if place:
        place.parent.mkdir(parents=True, exist_ok=True)
        with in_one_step(place) as part:
            part.write_text(found.model_dump_json(indent=1), encoding="utf-8")
    return found


@lru_cache(maxsize=8)
def _examined(text: str, name: str, conditions: str, digest: str, whole: bool) -> Examined:
    model = Model.model_validate_json(text)
    entry = tasks.entry(name, Data.model_validate_json(conditions) if conditions else None)
    plain = model.without_weights()
    with torch.device("meta"):
        network = build(plain.name, plain.args, in_channels=entry.image[0], classes=entry.classes)
    parts = blocks(network)
    task = entry.load()
    if reason := _refusal(plain, [Train()], task):
        raise SearcherError(f"model {model.called} cannot be trained on {name}: {reason}")
    tried = {what: _refusal(plain, [stage], task) for what, stage in _stages(plain).items()}
    refused = {what: reason for what, reason in tried.items() if reason}
    kept_out: dict[str, str] = {}
    if "quantize" in refused and (block := obstacle_to_int8(plain, parts, task)):
        kept_out[block] = refused.pop("quantize")
    return Examined(
        model=model,
        whole=whole,
        batch_size=task.step_images or batch_size(len(task.train)),
        blocks=parts,
        refused=refused,
        kept_out=kept_out,
    )


def batch_size(images: int) -> int:
    """The largest of four sizes that gives an epoch enough steps; the smallest where none does."""
    return next((size for size in (128, 64, 32) if images >= size * _STEPS), 16)


def _stages(model: Model) -> dict[str, Stage]:
    """A stage of each kind, and of each of its engines, by its name in `Examined.refused`."""
    return {
        "distill": Distill(teacher=model),
        "prune_channels torch-pruning": PruneChannels(ratio=_RATIO, engine="torch-pruning"),
        "prune_channels nni": PruneChannels(ratio=_RATIO, engine="nni"),
        "prune_weights global": PruneWeights(sparsity=_RATIO, scope="global"),
        "prune_weights local": PruneWeights(sparsity=_RATIO, scope="local"),
        "quantize": _int8({}),
    }


def _int8(exclude: dict[str, int]) -> Quantize:
    return Quantize.model_validate({"calibration_images": REHEARSAL_IMAGES, "exclude": exclude})


def obstacle_to_int8(model: Model, parts: Blocks, task: Task) -> str | None:
    """The block without which the others can be in int8; None where there is none.

    Args:
        model: The model, of which int8 as a whole is refused.
        parts: Its blocks.
        task: Its data.
    """
    for name, paths in parts.items():
        if len(parts) > 1 and not _refusal(model, [_int8(dict.fromkeys(paths, 32))], task):
            return name
    return None


def _refusal(model: Model, stages: Sequence[Stage], task: Task) -> str:
    """Why stages cannot be done with the network without its weights, in a line; else empty."""
    try:
        rehearse(Recipe(model=model, stages=tuple(stages)), task, torch.device("cpu"))
    except Exception as error:  # whatever a user's network or a library raises
        return first_line(error).removeprefix(BEFORE)
    return ""
