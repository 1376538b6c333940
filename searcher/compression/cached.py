"""Cache of trained prefixes: a recipe's first stages from the store, or trained and stored."""

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from searcher import models
from searcher.compression import structure
from searcher.compression.build import start
from searcher.compression.checkpoint import Checkpoints
from searcher.compression.engines import weights
from searcher.compression.stages import runner, stored_stages
from searcher.compression.store import Stored
from searcher.compression.training import VERSION, Run
from searcher.config.recipe import Model, Recipe, Stage, Training
from searcher.config.stages.teaching import teaching_of
from searcher.tasks.base import Task

Make = Callable[[Run], nn.Module]


def digest(prefix: Recipe, run: Run) -> str:
    """The name of what a recipe makes: of all that it depends on, 32 hex digits.

    That is the model with its family's code and its weights, the stages with the versions of their code, the
    data, the seed and the budget of epochs.
    """
    every = [prefix.model, *(model for stage in prefix.stages for model in stage.models())]
    depends: dict[str, Any] = {
        "recipe": prefix.model_dump(mode="json"),
        "models": [identity(model) for model in every],
        "versions": [runner(stage).version for stage in prefix.stages],
        "data": run.task.fingerprint,
        "seed": run.seed,
        "epochs": run.epochs,
        "torch": torch.__version__,
        "compile": run.compile,
        "training": VERSION,
    }
    if run.until is not None:
        depends["until"] = run.until
    if taught := [runner(stage).version for outer in prefix.stages for stage in _teachers(outer)]:
        depends["teachers"] = taught
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]


def _teachers(stage: Stage) -> list[Stage]:
    """The stages that make a stage's teacher, and the teachers of these."""
    teaching = teaching_of(stage)
    own = list(teaching.made_by()) if teaching else []
    return own + [inner for one in own for inner in _teachers(one)]


def identity(model: Model) -> list[str]:
    """Digests of what a model is made by: its family's code and its weights."""
    texts = [models.code(model.name).encode(), *map(str.encode, models.renamed(model.name))]
    if model.weights:
        texts.append(Path(model.weights).expanduser().read_bytes())
    return [hashlib.sha256(text).hexdigest() for text in texts]


def longest(recipe: Recipe, run: Run) -> tuple[nn.Module | None, int]:
    """The model after as many of a recipe's stages as the store has, and how many those are.

    What its trainings reported is replayed.
    """
    if run.store:
        for count in range(len(recipe.stages), 0, -1):
            prefix = first(recipe, count)
            found = run.store.find(digest(prefix, run))
            if found:
                _replay([*found.about["before"], *found.about["reported"]], run)
                return rebuild(prefix.model, run.task, found), count
    return None, 0


def is_trained(recipe: Recipe, run: Run) -> bool:
    """Whether the store has all that a recipe trains."""
    if run.store is None:
        return False
    trainings = [place for place, stage in enumerate(recipe.stages, 1) if isinstance(stage, Training)]
    trained = first(recipe, max([stored_stages(recipe), *trainings]))
    return run.store.has(digest(trained, run))


def first(recipe: Recipe, count: int) -> Recipe:
    """The recipe with its first stages alone."""
    return recipe.model_copy(update={"stages": recipe.stages[:count]})


def kept(prefix: Recipe, run: Run, make: Make, before: Sequence[list[Any]] = ()) -> nn.Module:
    """The model after a prefix's stages; without a store it is simply made.

    Two processes that want the same at once do not train it twice: one waits for the other.

    Args:
        prefix: A recipe without what is not kept.
        run: Task, budget, seed, device and store.
        make: Makes the model where the store has none; its reports are kept with it.
        before: What was reported by the stages ahead of the prefix's last.
    """
    if run.store is None:
        return make(run)
    with run.store.slot(digest(prefix, run)) as slot:
        found = slot.find()
        if found:
            _replay(found.about["reported"], run)
            return rebuild(prefix.model, run.task, found)
        reported: list[list[Any]] = []
        about: dict[str, Any] = {"before": list(before), "reported": reported}
        begun = time.monotonic()
        inner = recording(run, reported)
        model = make(replace(inner, checkpoints=Checkpoints(slot.scratch)))
        about |= _known(prefix, run, begun)
        try:
            about |= _told(model, prefix.model, run.task)
        except structure.NotPlain as error:
            print(f"store: {prefix.words()} is not kept: {error}", flush=True)
        else:
            slot.save(weights.pack(model.state_dict()), about)
        return model


def kept_state(run: Run, make: Callable[[Run], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that a stage trains which is not stored by itself; without a store they are simply made.

    Args:
        run: Task, budget, seed, device, store, and the recipe up to the stage.
        make: Makes them where the store has none; its reports are kept with them.
    """
    if run.store is None or run.prefix is None:
        return make(run)
    with run.store.slot(digest(run.prefix, run)) as slot:
        found = slot.find()
        if found:
            _replay(found.about["reported"], run)
            return weights.unpack(found.content)
        reported: list[list[Any]] = []
        begun = time.monotonic()
        state = make(replace(recording(run, reported), checkpoints=Checkpoints(slot.scratch)))
        slot.save(weights.pack(state), _known(run.prefix, run, begun) | {"before": [], "reported": reported})
        return state


def _known(prefix: Recipe, run: Run, begun: float) -> dict[str, Any]:
    """The account of an entry whose making has begun at a time."""
    return {
        "recipe": prefix.model_dump(mode="json"),
        "words": prefix.words(),
        "task": run.task.name,
        "seed": run.seed,
        "epochs": run.epochs,
        "seconds": time.monotonic() - begun,
        "host": platform.node(),
    }


def recording(run: Run, points: list[list[Any]]) -> Run:
    """The run, which also adds to a list what is reported to it or replayed."""

    def both(to: Callable[..., None]) -> Callable[..., None]:
        def remember(*point: Any) -> None:
            points.append(list(point))
            to(*point)

        return remember

    return replace(run, report=both(run.report), replay=both(run.replay))


def _replay(points: Sequence[Sequence[Any]], run: Run) -> None:
    for stage, epoch, epochs, accuracy in points:
        run.replay(stage, epoch, epochs, accuracy)


def rebuild(model: Model, task: Task, found: Stored) -> nn.Module:
    """A stored model: its family's, with the structure and the weights that were stored."""
    state = weights.unpack(found.content)
    network = start(model.without_weights(), task)
    structure.apply(network, found.about, state)
    network.load_state_dict(state)
    return network.eval()


def _told(network: nn.Module, model: Model, task: Task) -> dict[str, Any]:
    with torch.device("meta"):
        family = start(model.without_weights(), task)
    return structure.told(network, family)
