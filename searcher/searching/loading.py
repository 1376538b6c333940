"""A study's space: loaded, told of the study's model, and tried."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from pydantic import ValidationError

from searcher import tasks
from searcher.compression.build import check_weights
from searcher.compression.stages import runner
from searcher.config import catalog
from searcher.config.examined import Examined
from searcher.config.recipe import Model, Recipe
from searcher.config.study import Study
from searcher.config.toml import raised
from searcher.errors import SearcherError
from searcher.execution.examination import examine
from searcher.searching.space import Suggest, check_kinds, guarded


@dataclass(frozen=True)
class Space:
    """A study's space.

    Attributes:
        suggest: Suggests recipes.
        known: The configurations that are tried first.
        models: The models seen in it.
        examined: The study's model, where it has one.
        as_it_came: The recipe among the known ones that leaves that model as it came.
        exclusions: Of the names of blocks, the parameters of its int8 without them, where the space tells.
    """

    suggest: Suggest
    known: Sequence[dict[str, Any]]
    models: Sequence[Model] = ()
    examined: Examined | None = None
    as_it_came: Recipe | None = None
    exclusions: Callable[[Sequence[str]], dict[str, Any]] | None = None


def load_space(study: Study, store: Path | None = None) -> Space:
    """A study's space; its known configurations and one that is drawn at random are tried.

    Args:
        study: The study.
        store: The folder that keeps what is found of the study's model.

    Raises:
        SearcherError: There is no such space, or what it suggests cannot be meant.
    """
    path = catalog.find("spaces", study.space)
    module = catalog.load(path)
    suggest, known = getattr(module, "suggest", None), getattr(module, "ENQUEUE", [])
    if not callable(suggest):
        raise SearcherError(f"{path}: expected a function suggest(trial) that returns a Recipe")
    examined = _examined(study, suggest, store)
    if examined:
        suggest = partial(suggest, model=examined)
        known = module.enqueue(examined) if hasattr(module, "enqueue") else known
    told = getattr(module, "exclusions", None)
    exclusions = partial(told, examined) if examined and told else None
    if not isinstance(known, list) or not all(isinstance(params, dict) for params in known):
        raise SearcherError(f"{path}: ENQUEUE: expected a list of dicts of parameters")
    suggest = guarded(suggest, path)
    trials: list[optuna.trial.BaseTrial] = [optuna.trial.FixedTrial(params) for params in known]
    places = [f"{path}: ENQUEUE[{number}]" for number in range(len(known))]
    recipes = [_tried(suggest, trial, place) for trial, place in zip(trials, places, strict=True)]
    for trial, params, place in zip(trials, known, places, strict=True):
        unused = sorted(set(params) - set(trial.params))
        if unused:
            raise SearcherError(f"{place}: the space does not suggest {', '.join(unused)}")
    drawn = draw(study)
    recipes.append(_tried(suggest, drawn, str(path)))
    check_kinds([dict(trial.distributions) for trial in (*trials, drawn)], path)
    models = models_of(recipes)
    entry = tasks.of(study)
    check_weights(models, entry.image, entry.classes)
    as_it_came = (r for r in recipes[: len(known)] if r.model == study.model and _leaves_whole(r))
    return Space(suggest, known, models, examined, next(as_it_came, None), exclusions)


def _examined(study: Study, suggest: Callable[..., object], store: Path | None) -> Examined | None:
    """What a space is told of the study's model; None where it takes none.

    Raises:
        SearcherError: The study has a model, and the space takes none, or the reverse.
    """
    takes = "model" in inspect.signature(suggest).parameters
    if takes and not study.model:
        raise SearcherError(f'space {study.space} is one of a given model: model = "my_package.nets:build"')
    if study.model and not takes:
        raise SearcherError(
            f'space {study.space} makes models of its own, and takes none: space = "module" is of any model'
        )
    return examine(study.model, study.task, study.data, store) if study.model else None


def _leaves_whole(recipe: Recipe) -> bool:
    """Whether no stage does more than train."""
    return not any(runner(stage).compresses for stage in recipe.stages)


def models_of(recipes: Sequence[Recipe]) -> list[Model]:
    """The models of recipes and their teachers, each once."""
    found = [
        model
        for recipe in recipes
        for model in (recipe.model, *(model for stage in recipe.stages for model in stage.models()))
    ]
    return list({model.model_dump_json(): model for model in found}.values())


def _tried(suggest: Suggest, trial: optuna.trial.BaseTrial, where: str) -> Recipe:
    try:
        return suggest(trial)
    except SearcherError as error:
        text = str(error)
        raise SearcherError(text if text.startswith(where) else f"{where}: {text}") from error
    except ValidationError as error:
        raise SearcherError(f"{where}: {raised(error)}") from error
    except Exception as error:
        raise SearcherError(f"{where}: {type(error).__name__}: {error}") from error


def draw(study: Study) -> optuna.Trial:
    """A trial of a random configuration; always the same for the study's seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=study.seed)).ask()
