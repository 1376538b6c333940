"""How long it takes to predict what a recipe costs, against building its network and counting it.

Both take the same random recipes of the micronet space by turns, for CIFAR-10 images. The count is of the
model alone, without the recipe's pruning and quantization, which the prediction has in it. Prints and writes
`benchmarks/results/prediction.json`; `ratio` is the median of predicted / counted, recipe by recipe.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import optuna
import torch

from benchmarks.figures import write
from searcher.compression.predict import predict
from searcher.config import catalog
from searcher.config.recipe import Recipe
from searcher.costs.counting.recorder import record
from searcher.errors import TrialError
from searcher.models import build

RECIPES = 100
IMAGE = (3, 32, 32)
CLASSES = 10
THREADS = 1


def random_recipes(count: int) -> list[Recipe]:
    """Recipes of the micronet space, the same every time."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    suggest: Callable[[optuna.Trial], Recipe] = catalog.load(catalog.find("spaces", "micronet")).suggest
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(study.ask()) for _ in range(count)]


def predicted(recipe: Recipe) -> bool:
    """Predict; whether it ended in rows, not in a refusal of what cannot be pruned as asked."""
    try:
        return predict(recipe, IMAGE, CLASSES).ops is not None
    except TrialError:
        return False


def counted(recipe: Recipe) -> None:
    """Build the network and count what it executes on an image."""
    model = build(recipe.model.name, recipe.model.args, in_channels=IMAGE[0], classes=CLASSES)
    record(model, torch.rand(1, *IMAGE))


def milliseconds(job: Callable[[Recipe], object], recipe: Recipe) -> float:
    """The time that a job takes."""
    started = time.perf_counter()
    job(recipe)
    return (time.perf_counter() - started) * 1000


def summary(times: Sequence[float]) -> dict[str, float]:
    """Quartiles, the median between them, and the maximum."""
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {
        "median": round(median, 2),
        "quartile_1": round(low, 2),
        "quartile_3": round(high, 2),
        "max": round(max(times), 2),
    }


def main() -> None:
    """Measure both by turns and write the figures."""
    torch.set_num_threads(THREADS)
    recipes = random_recipes(RECIPES)
    refused = sum(not predicted(recipe) for recipe in recipes)
    counted(recipes[0])
    pairs = [(milliseconds(predicted, recipe), milliseconds(counted, recipe)) for recipe in recipes]
    result = {
        "predicted_ms": summary([ours for ours, _ in pairs]),
        "counted_ms": summary([theirs for _, theirs in pairs]),
        "ratio": round(statistics.median(ours / theirs for ours, theirs in pairs), 4),
        "recipes": len(recipes),
        "recipes_refused": refused,
        "runs": [(round(ours, 2), round(theirs, 2)) for ours, theirs in pairs],
        "threads": THREADS,
    }
    write("prediction", result)


if __name__ == "__main__":
    main()
