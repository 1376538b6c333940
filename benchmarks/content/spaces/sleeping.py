"""The micronet space untrained: what is left is to build the network, to measure it, and to sleep."""

from optuna import Trial

from searcher.config import catalog
from searcher.config.catalog import roots
from searcher.config.recipe import Recipe, Train

_micronet = catalog.load(roots()[-1] / "spaces" / "micronet.py")


def suggest(trial: Trial) -> Recipe:
    """A network of the micronet space; every one of its parameters is drawn."""
    recipe: Recipe = _micronet.suggest(trial)
    return Recipe(model=recipe.model, stages=(Train(share=0.0),))
