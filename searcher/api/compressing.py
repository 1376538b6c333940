"""`compress`: a network taken through a recipe's stages."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from searcher import tasks
from searcher.api.data import task_name
from searcher.compression.build import check_outputs
from searcher.compression.network import Network
from searcher.compression.pipeline import run_stages
from searcher.compression.stages import untrained
from searcher.compression.training import Report, Run
from searcher.config import recipe_file
from searcher.config.recipe import Model, Recipe, Stage
from searcher.execution.rehearsal import few_images
from searcher.tasks.base import Task


def compress(
    model: nn.Module,
    recipe: Recipe | Sequence[Stage] | str | Path,
    data: Task | Path | str,
    *,
    epochs: int = 10,
    seed: int = 0,
    report: Report = lambda stage, epoch, epochs, quality: None,
) -> Network:
    """A network that was taken through a recipe's stages; the given one stays as it is.

    Every stage is rehearsed on a copy before anything trains, and what it makes is held against its
    reference, as in a search.

    Args:
        model: Takes images (N, C, H, W) of the data and returns what its task asks for, e.g. logits.
        recipe: A recipe, of which the stages count; the stages alone; or a recipe file.
        data: A task; its name, as a study has it; or the path of data of one's own.
        epochs: The budget, of which each stage spends its share.
        seed: Of the order of the images, their augmentation, and what a stage draws.
        report: Takes a stage's name, the epochs done and in all, and the quality on the validation split.

    Returns:
        The network on the CPU: `executed` is what runs, `architecture` the same in floating point.

    Raises:
        SearcherError: The data is not known, or the model's outputs are none of its task.
        TrialError: A stage cannot be executed on this model; says which, and where.
    """
    task = data if isinstance(data, Task) else tasks.entry(task_name(data)).load()
    if isinstance(recipe, str | Path):
        recipe = recipe_file.load(Path(recipe)).recipe
    stages = recipe.stages if isinstance(recipe, Recipe) else tuple(recipe)
    name = type(model).__name__
    check_outputs(name, copy.deepcopy(model).cpu(), type(task), task.image, task.classes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trained_later = untrained(Recipe(model=Model(name=name), stages=stages)).stages
    rehearsed = Run(few_images(task), 1, seed, device, lambda *progress: None)
    run_stages(copy.deepcopy(model), trained_later, rehearsed)
    return run_stages(copy.deepcopy(model), stages, Run(task, epochs, seed, device, report))
