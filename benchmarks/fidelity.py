"""How well a short training of a tiny network tells which of several is the better one after a long one.

Networks of the space `tiny`, drawn evenly over its families and with a score like those that are looked for,
are trained alike, once for every short training, on fewer images for fewer epochs, and once for long. Each
figure is of validation images. The rank correlations are Spearman's and Kendall's (tau-b); `best` is the
accuracy that is lost by taking the network that was best in short. `ratio` is how many images the most
telling short training sees, in those of the long one.

    SEARCHER_DATA=… python -m benchmarks.fidelity [--networks 10] [--short 5000x15 15000x5] [--epochs 10]
                                                   [--at-once 8]

A training that is done is kept in `benchmarks/runs/fidelity` and not repeated; one that was cut off goes on
from its last epoch. Writes `benchmarks/results/fidelity.json` after each network.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from scipy.stats import kendalltau, spearmanr

from benchmarks.figures import HERE, write
from benchmarks.pool import done
from searcher.config.recipe import Model, Quantize, Recipe, Train

PLACE = HERE / "runs" / "fidelity"
SCORES = (0.003, 0.017)
"""The int8 imt-2022 scores that a network's is between."""

TRAINING = Train(optimizer="adamw", lr=1e-2, weight_decay=0.02, batch_size=512)
"""One that networks without norms bear as well."""

IMAGE, CLASSES = (3, 32, 32), 10


@dataclass(frozen=True)
class Fidelity:
    """A training's images and epochs."""

    images: int
    epochs: int

    @classmethod
    def of(cls, text: str) -> "Fidelity":
        """That of ``5000x10``: 5,000 images, ten epochs."""
        images, _, epochs = text.partition("x")
        return cls(int(images), int(epochs))

    @property
    def seen(self) -> int:
        """The images of all its epochs."""
        return self.images * self.epochs

    def __str__(self) -> str:
        return f"{self.images}x{self.epochs}"


def networks(count: int) -> list[Model]:
    """Networks of the space, its families in turn, of which no two are the same."""
    from searcher.compression.predict import predict
    from searcher.config import catalog
    from searcher.costs.scores import score

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = catalog.load(catalog.find("spaces", "tiny"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: list[Model] = []
    while len(found) < count:
        model: Model = space.suggest(study.ask()).model
        family = space.FAMILIES[len(found) % len(space.FAMILIES)]
        if model.name != family or model in found:
            continue
        ops = predict(Recipe(model=model, stages=(Quantize(),)), IMAGE, CLASSES).ops
        if ops and SCORES[0] <= score(ops, "imt-2022").value <= SCORES[1]:
            found.append(model)
    return found


def trained(model: Model, fidelity: Fidelity, few: bool) -> float:
    """The accuracy on validation images of a training that may be done."""
    import torch

    from searcher.compression.checkpoint import Checkpoints
    from searcher.compression.pipeline import run_recipe
    from searcher.compression.training import Run
    from searcher.execution.measurement import Measurement
    from searcher.tasks.classification.cifar10 import cifar10

    recipe = Recipe(model=model, stages=(TRAINING,))
    key = hashlib.sha256(f"{recipe.digest()} {fidelity} {few}".encode()).hexdigest()[:16]
    place = PLACE / f"{key}.json"
    if place.is_file():
        return float(json.loads(place.read_text())["top1"])
    task = cifar10()
    task = task.trained_on(fidelity.images)
    if few:
        task = replace(task, validation=task.validation.first(200))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(task, fidelity.epochs, 0, device, lambda *point: None, Checkpoints(PLACE / key))
    network = run_recipe(recipe, run)
    accuracy = Measurement(network, task, task.validation, device=device).figures["top1"]
    place.write_text(json.dumps({"top1": accuracy}) + "\n")
    return float(accuracy)


def correlation(of: Callable[..., Any], one: Sequence[float], other: Sequence[float]) -> float:
    """A rank correlation of SciPy's; 0 where one of the two ranks nothing."""
    return float(of(one, other).statistic) if min(len(set(one)), len(set(other))) > 1 else 0.0


def summary(models: Sequence[Model], found: dict[str, list[float]], long: str) -> dict[str, Any]:
    """The figures of the networks that are trained for long.

    Args:
        models: The networks.
        found: Of every fidelity the accuracies of the first networks, in their order.
        long: The fidelity with which the others are compared.
    """
    count = len(found[long])
    goal = found[long]
    shorts = {name: accuracies[:count] for name, accuracies in found.items() if name != long}
    told = {}
    for name, given in shorts.items():
        told[name] = {
            "spearman": correlation(spearmanr, given, goal),
            "kendall": correlation(kendalltau, given, goal),
            "best": max(goal) - goal[given.index(max(given))],
            "images": Fidelity.of(name).seen / Fidelity.of(long).seen,
        }
    most = max(told.values(), key=lambda row: (row["spearman"], -row["images"]))
    return {
        "ratio": most["images"],
        "short_trainings": told,
        "accuracy": {
            model.words(): {name: accuracies[i] for name, accuracies in found.items()}
            for i, model in enumerate(models[:count])
        },
    }


def main() -> None:
    """Train what is not trained yet, the short trainings first, and write the figures after each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--short", type=Fidelity.of, nargs="+", default=["5000x15", "15000x5"])
    parser.add_argument("--images", type=int, default=45_000, help="of the long trainings")
    parser.add_argument("--epochs", type=int, default=10, help="of the long trainings")
    parser.add_argument(
        "--few", action="store_true", help="few validation images, to try it; it writes nothing"
    )
    parser.add_argument("--at-once", type=int, default=1, help="trainings at a time")
    asked = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    models = networks(asked.networks)
    shorts = [Fidelity.of(str(short)) for short in asked.short]
    long = Fidelity(asked.images, asked.epochs)
    if asked.at_once > 1:
        every = [(model, fidelity, asked.few) for fidelity in (long, *shorts) for model in models]
        for _ in done(trained, every, asked.at_once):
            pass  # each is kept, and read again below
    found: dict[str, list[float]] = {str(fidelity): [] for fidelity in (*shorts, long)}
    for fidelity in (*shorts, long):
        for place, model in enumerate(models):
            accuracy = trained(model, fidelity, asked.few)
            found[str(fidelity)].append(accuracy)
            print(f"{model.words()}, {fidelity}: {accuracy:.4f}", flush=True)
            if fidelity is long and place:
                figures = summary(models, found, str(long))
                print(json.dumps(figures, indent=1), flush=True) if asked.few else write("fidelity", figures)


if __name__ == "__main__":
    main()
