"""Predicts a recipe's operations before anything is trained."""

from functools import lru_cache

import torch

from searcher.compression.outlined import NotCertain, NotRun, Outlined
from searcher.compression.stages import runner, stored_stages
from searcher.config.recipe import Recipe
from searcher.costs.arithmetic import Sizes
from searcher.costs.counting.recorder import record
from searcher.costs.op import Prediction
from searcher.errors import SearcherError, first_line
from searcher.models import build


def predict(recipe: Recipe, image: Sizes, classes: int) -> Prediction:
    """The operations of the finished model, from shapes alone.

    Dense and structurally pruned networks are predicted to the unit. Of a sparse network the zeros are
    known in all, by layer where every layer has the same share.

    Args:
        recipe: What will be built, pruned and quantized.
        image: Channels, height and width of one image.
        classes: Number of outputs.

    Raises:
        TrialError: Too few of the channels could be removed.
        SearcherError: The model cannot be built, does not run on such an image, or has no module of a name
            that is kept out of int8.
    """
    count = stored_stages(recipe)
    floating = recipe.model_copy(update={"stages": recipe.stages[:count]})
    try:
        outlined = _floating(floating.model_dump_json(), tuple(image), classes).copy()
        for stage in recipe.stages[count:]:
            runner(stage).predict(outlined, stage)
    except NotCertain as error:
        if isinstance(error, NotRun):
            _check_runs(recipe, (1, *image), classes)
        return Prediction(None, str(error))
    return Prediction(outlined.ops, outlined.reason)


@lru_cache(maxsize=8)
def _floating(text: str, image: Sizes, classes: int) -> Outlined:
    """A recipe in floating point: what is asked for next is often the same network, quantized otherwise."""
    recipe = Recipe.model_validate_json(text)
    with torch.device("meta"):
        model = build(recipe.model.name, recipe.model.args, in_channels=image[0], classes=classes)
    outlined = Outlined(model, (1, *image))
    for stage in recipe.stages:
        runner(stage).predict(outlined, stage)
    return outlined


def _check_runs(recipe: Recipe, sizes: Sizes, classes: int) -> None:
    """Tell a network that cannot be followed from one that cannot be run.

    Raises:
        SearcherError: It cannot; says what torch says.
    """
    model = recipe.model
    with torch.random.fork_rng(devices=[]):
        network = build(model.name, model.args, in_channels=sizes[1], classes=classes)
        try:
            record(network, torch.zeros(sizes))
        except Exception as error:
            text = ",".join(map(str, sizes))
            raise SearcherError(
                f"{model.called} does not run on an input of {text}: {first_line(error)}"
            ) from error
