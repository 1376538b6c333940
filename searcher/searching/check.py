"""Before a search: every part of a study exists, and what must not change while it is stored."""

from collections.abc import Sequence
from pathlib import Path

import optuna
import torch

from searcher import tasks
from searcher.compression.build import check_weights
from searcher.compression.predict import predict
from searcher.config.recipe import Model, Recipe
from searcher.config.study import Study
from searcher.costs.latency import check_device
from searcher.costs.op import not_counted
from searcher.errors import SearcherError, TrialError
from searcher.execution.metrics import check_metrics, check_quality, own_metrics, timed
from searcher.execution.rehearsal import rehearse
from searcher.models import build
from searcher.searching import data, samplers
from searcher.searching.came_with import check_budgets, learn_costs
from searcher.searching.exclusions import check_exclusions
from searcher.searching.goals import check_goals
from searcher.searching.loading import Space, draw, load_space
from searcher.searching.seen import warning
from searcher.searching.untrained import check_model, try_metrics
from searcher.tasks.base import Task


def check_parts(study: Study, store: Path | None = None) -> Space:
    """Find a study's space and metrics, and try the space.

    Every known configuration, and one that is drawn at random, must make a recipe, and the files of weights
    that it names must fit.

    Args:
        study: The study.
        store: The folder that keeps what is found of the study's model.

    Raises:
        SearcherError: A part is missing or does not fit.
    """
    check_metrics(study.measured())
    check_quality(study.measured(), study.task, tasks.of(study).kind.metrics)
    check_goals(study)
    if timed(study.measured()):
        check_device(study.deployment)
    samplers.make(study.sampler, study.seed, 0)
    _check_images(study)
    if study.reference:
        _check_reference(study)
    if study.model:
        check_model(study.model, study.task, tasks.of(study))
    space = load_space(study, store)
    _check_models(space.models, study, runs=False)
    check_exclusions(study, space)
    learn_costs(study, space)
    if study.model and study.screening:
        check_budgets(study, space)
    samplers.check_options(study.sampler, space.suggest, [o.goal for o in study.objectives])
    return space


def _check_models(models: Sequence[Model], study: Study, *, runs: bool) -> None:
    """Refuse a space of which no model fits the task; one alone that does not fails its trials."""
    misfits, entry = [], tasks.of(study)
    for model in models:
        try:
            check_model(model, study.task, entry, runs=runs)
        except SearcherError as error:
            misfits.append(error)
    if misfits and len(misfits) == len(models):
        raise misfits[0]


def doubts(study: Study, space: Space | None = None, store: Path | None = None) -> list[str]:
    """Given weights that have probably seen the validation images, a line each.

    Args:
        study: The study.
        space: Its space, where it is loaded already.
        store: The folder that keeps what is found of the study's model.

    Raises:
        SearcherError: The space or a file of weights cannot be used.
    """
    models = [model for model in (space or load_space(study, store)).models if model.weights]
    task = tasks.of(study).load() if models else None
    return [line for model in models if task and (line := warning(model, task))]


def _check_images(study: Study) -> None:
    wanted = study.budget.train_images
    if wanted:
        there = len(tasks.of(study).load().train)
        if wanted > there:
            raise SearcherError(
                f"budget.train_images = {wanted:,}: task {study.task} has {there:,} training images; "
                "leave the key out for all of them"
            )


def _check_reference(study: Study) -> None:
    reference, entry = study.reference, tasks.of(study)
    assert reference is not None
    try:
        with torch.device("meta"):
            build(reference.name, reference.args, in_channels=entry.image[0], classes=entry.classes)
    except SearcherError as error:
        raise SearcherError(f"reference: {error}") from error


def _predicted(recipe: Recipe, task: Task) -> list[str]:
    try:
        prediction = predict(recipe, task.image, task.classes)
    except TrialError as error:
        return [f"cannot be made: {error}"]
    reason = [f"{prediction.verdict}: {prediction.reason}"] if prediction.reason else []
    ops = prediction.ops
    if ops is None:
        return reason
    counts = f"{sum(op.params for op in ops):,} parameters, {sum(op.macs for op in ops):,} MACs predicted"
    return [counts, *reason, *(f"not counted: {line}" for line in not_counted(ops))]


def rehearsals(recipes: Sequence[Recipe], task: Task) -> list[str]:
    """Rehearse as many recipes as have each model and each kind of stage once.

    Returns:
        A line for each that cannot be executed.

    Raises:
        SearcherError: None of them can.
    """
    tried, failed = _covering(recipes), []
    for recipe in tried:
        try:
            rehearse(recipe, task, torch.device("cpu"))
        except TrialError as error:
            failed.append(f"{recipe.words()}: {error}")
    if failed and len(failed) == len(tried):
        raise SearcherError("no recipe of the space that was tried can be executed: " + "; ".join(failed))
    return failed


def _covering(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Recipes of which each has something that none before has, the longest first."""
    seen: set[tuple[str, ...]] = set()
    chosen = []
    for recipe in sorted(recipes, key=lambda recipe: -len(_parts(recipe))):
        if _parts(recipe) - seen:
            chosen.append(recipe)
            seen |= _parts(recipe)
    return chosen


def _parts(recipe: Recipe) -> set[tuple[str, ...]]:
    stages = {(stage.kind, getattr(stage, "engine", "")) for stage in recipe.stages}
    return {(recipe.model.name,), *stages}


def describe(study: Study, space: Space) -> list[str]:
    """The lines that say what a study that was checked consists of.

    Raises:
        SearcherError: A metric fails, or no recipe that was tried can be executed.
    """
    drawn = draw(study)
    recipe = space.suggest(drawn)
    task = tasks.of(study).load()
    own = own_metrics(study.measured())
    _check_models(space.models, study, runs=True)
    known = [space.suggest(optuna.trial.FixedTrial(params)) for params in space.known]
    refused = rehearsals([*known, recipe], task)
    try_metrics([m for m in study.measured() if m.metric in own], recipe.model, task)
    return [
        f"study {study.stored_name} is fine",
        f"data fingerprint {task.fingerprint}",
        *(f"  {line}" for line in data.lines(task)),
        f"space {study.space}: {len(space.known)} known configurations, {len(drawn.params)} parameters drawn",
        f"  e.g. {recipe.words()}",
        *(f"  {line}" for line in _predicted(recipe, task)),
        *(f"  cannot be executed: {line}" for line in refused),
        *(f"  left out, {line}" for line in (space.examined.left_out() if space.examined else ())),
        *(f"  {line}" for line in check_weights(space.models, task.image, task.classes)),
        *(f"metric {name} is that of {path}" for name, path in own.items()),
        *(f"warning: {line}" for line in doubts(study, space)),
        f"objectives: {', '.join(f'{o.goal} {o.key}' for o in study.objectives)}",
        f"constraints: {', '.join(map(str, study.constraints)) or 'none'}",
        f"budget: {study.budget.trials} trials, {study.budget.epochs} epochs each",
    ]
