"""Recipe files of CIFAR-10, trained whole, several at a time on one machine.

    SEARCHER_DATA=… python -m benchmarks.headline results/cifar10/*.toml [--seeds 0 1 2] [--at-once 8]

What a seed gave is kept in `benchmarks/runs/headline`, a file each, and not trained again; so is every stage,
in a store that recipes with the same beginning or the same teacher share: a training that was cut off goes on
from its last epoch. Figures are of all the seeds that are kept. The recipes are held against one another by
their validation images; the test images are seen once by each seed, at its end. `ratio` is the least imt-2022
score with 90 % of them or more / the least that was published with so much.

Writes `benchmarks/results/headline.json`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import HERE, machine, write
from benchmarks.pool import done

PLACE = HERE / "runs" / "headline"
VARIANTS = ("imt-2022", "imt-2025", "micronet-2019")
GOAL = 0.9
"""The accuracy at which scores are compared."""

PUBLISHED = {
    "k=4, two groups, 65.1 % sparse, distilled, int8 but for three blocks": (0.0167, 0.9004),
    "k=4, two groups, distilled, int8": (0.01706, 0.9025),
    "k=4, depthwise, 32 % sparse, distilled, 16 bits": (0.018, 0.9002),
    "k=4, depthwise, distilled, 16 bits": (0.0205, 0.9054),
    "k=4, two groups, 30.2 % sparse, 16 bits": (0.0207, 0.9004),
    "k=3, 16 bits": (0.0219, 0.9003),
    "k=4, two groups, 16 bits": (0.0226, 0.9012),
    "k=4, two groups, 65.1 % sparse, 32 bits": (0.02524, 0.9004),
}
"""imt-2022 and accuracy on the test images, by which they were chosen, of DenseNets of 2022."""

CHART = {
    "title": "CIFAR-10: accuracy on the test images against the score imt-2022",
    "legend": "published DenseNets of 2022",
    "cost": "imt-2022",
    "unit": "",
    "step": 0.005,
    "digits": 4,
    "least": 0.88,
    "most": 0.92,
}


def trained(path: Path, seed: int, epochs: int | None, tested: bool) -> dict[str, Any]:
    """A recipe's figures with one seed, on validation images, and on test images where it is tested."""
    import torch

    from searcher.compression.pipeline import run_recipe
    from searcher.compression.store import Store
    from searcher.compression.training import Run
    from searcher.config import recipe_file
    from searcher.costs.scores import score
    from searcher.execution.measurement import Measurement
    from searcher.searching.loading import models_of
    from searcher.searching.seen import warning
    from searcher.tasks.classification.cifar10 import cifar10

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    file, task = recipe_file.load(path), cifar10()
    for line in filter(None, (warning(model, task) for model in models_of([file.recipe]))):
        print(line, flush=True)
    begun, curve = time.perf_counter(), []

    def report(stage: str, epoch: int, count: int, quality: float) -> None:
        curve.append([stage, epoch, round(quality, 4), round(time.perf_counter() - begun, 1)])
        if epoch % 20 == 0 or epoch == count:
            print(f"{path.stem} seed {seed}, {stage} {epoch}/{count}: {quality:.4f}", flush=True)

    run = Run(
        task,
        epochs or file.provenance.epochs,
        seed,
        device,
        report,
        store=Store(PLACE / "store"),
        replay=report,
    )
    network = run_recipe(file.recipe, run)
    seconds = time.perf_counter() - begun
    on_validation = Measurement(network, task, task.validation, device=device)
    ops = on_validation.ops
    weights = [op for op in ops if op.kind in ("conv", "linear")]
    return {
        "recipe": path.stem,
        "digest": file.recipe.digest(),
        "words": file.recipe.words(),
        "epochs": run.epochs,
        "seed": seed,
        "validation": on_validation.figures["top1"],
        "test": Measurement(network, task, task.test, device=device).figures["top1"] if tested else None,
        "params": sum(op.params for op in ops),
        "macs": sum(op.macs for op in ops),
        "zeros": sum(op.params - op.nonzero - op.biases for op in weights),
        "widths": sorted({f"{op.bits}/{op.activation_bits}" for op in weights}),
        **{variant: score(ops, variant).value for variant in VARIANTS},
        "seconds": seconds,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else machine(),
        "curve": curve,
    }


def main() -> None:
    """Train what is not trained yet, and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="recipe files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--at-once", type=int, default=1, help="trainings at a time")
    parser.add_argument(
        "--epochs", type=int, help="instead of the files' budgets, to try it; nothing is kept"
    )
    parser.add_argument("--validation-only", action="store_true", help="leave the test images alone")
    asked = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    options = (asked.epochs, not asked.validation_only)
    every = [(path, seed, *options) for seed in asked.seeds for path in asked.files]
    missing = [job for job in every if asked.epochs or not kept(*job[:2]).is_file()]
    for (path, seed, *_), row in done(trained, missing, asked.at_once):
        told = {key: value for key, value in row.items() if key != "curve"}
        print(json.dumps(told), flush=True)
        if not asked.epochs:
            kept(path, seed).write_text(json.dumps(row) + "\n")
    if not asked.epochs:
        found = [row for path in asked.files for row in sorted(PLACE.glob(kept(path, "*").name))]
        write("headline", summary([json.loads(row.read_text()) for row in found]))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The recipes over their seeds, the points of the chart, and the ratio; the runs as they are."""
    from searcher.searching.pareto import non_dominated

    networks = {}
    for name in dict.fromkeys(row["recipe"] for row in rows):
        own = [row for row in rows if row["recipe"] == name]
        first = own[0]
        told = {key: first[key] for key in ("params", "macs", "zeros", *VARIANTS)}
        networks[name] = {
            "seeds": len(own),
            **over_seeds(own, "validation"),
            **over_seeds(own, "test"),
            **told,
        }
    tested = {name: row for name, row in networks.items() if "test" in row}
    points: list[dict[str, Any]] = [
        {"recipe": f"; published, {name}", "imt-2022": s, "top1": top1}
        for name, (s, top1) in PUBLISHED.items()
    ]
    points += [
        {"recipe": f"; {name}", "imt-2022": row["imt-2022"], "top1": row["test"]}
        for name, row in tested.items()
    ]
    best = non_dominated(np.array([[point["imt-2022"], -point["top1"]] for point in points]))
    for place, point in enumerate(points):
        point["front"] = place in best
    good = [row["imt-2022"] for row in tested.values() if row["test"] >= GOAL]
    least = min(score for score, top1 in PUBLISHED.values() if top1 >= GOAL)
    return {
        "networks": networks,
        "ratio": min(good, default=1.0) / least,
        "runs": list(rows),
        "chart": CHART,
        "points": points,
    }


def over_seeds(rows: Sequence[dict[str, Any]], split: str) -> dict[str, float]:
    """The mean accuracy on a split, and its standard deviation where there are several seeds."""
    values = [row[split] for row in rows if row[split] is not None]
    spread = {f"{split}_spread": statistics.stdev(values)} if len(values) > 1 else {}
    return ({split: statistics.fmean(values)} if values else {}) | spread


def kept(path: Path, seed: int | str) -> Path:
    """The file of what a recipe gave with a seed; the pattern of those of all seeds for ``*``."""
    from searcher.config import recipe_file

    file = recipe_file.load(path)
    return PLACE / f"{path.stem}-{file.recipe.digest()[:12]}-{file.provenance.epochs}-{seed}.json"


if __name__ == "__main__":
    main()
