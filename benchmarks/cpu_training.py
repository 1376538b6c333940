"""Images a second of a training on the CPU, with and without what the loop does for it.

Convolutions whose gradients are slow in bf16 are computed in fp32, where the rest is in bf16
(`compression/precision.py`), and freed memory is kept for the next step (`compression/heap.py`). `ours` has
both; `bf16` has those convolutions in bf16 too, `handed back` the memory as glibc has it, `neither` none of
the two. `fp32` is a processor without bf16, with the heap kept and handed back. Each training is a process of
its own, by turns, of batches of 512; its first epoch does not count. `ratio` is the geometric mean over the
networks of ours / neither.

    SEARCHER_DATA=… python -m benchmarks.cpu_training [--images 1024] [--epochs 3] [--repeats 3]

Writes `benchmarks/results/cpu_training.json`.
"""

import argparse
import itertools
import math
import multiprocessing
import resource
import statistics
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from benchmarks.figures import write
from searcher import models, tasks
from searcher.compression import heap, precision
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train
from searcher.config.stages.base import Precision

BATCH = 512
INVERTED = {"widths": (16, 24, 36), "depths": (2, 3, 3), "strides": (1, 2, 2), "squeeze_excite": True}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "inverted, 3×3": ("inverted", INVERTED | {"kernel": 3}),
    "inverted, 5×5": ("inverted", INVERTED | {"kernel": 5}),
    "gated": ("gated", {}),
}


class Way(NamedTuple):
    """How a training goes."""

    precision: Precision = "auto"
    slow_in_fp32: bool = True
    kept: bool = True


WAYS = {
    "ours": Way(),
    "bf16": Way(slow_in_fp32=False),
    "handed back": Way(kept=False),
    "neither": Way(slow_in_fp32=False, kept=False),
    "fp32": Way("fp32"),
    "fp32, handed back": Way("fp32", kept=False),
}


def train(name: str, way: Way, images: int, epochs: int) -> tuple[float, float]:
    """Images a second of the median epoch but the first, and the most MiB that this process held."""
    family, args = NETWORKS[name]
    whole = tasks.entry("cifar10").load().trained_on(images)
    task = replace(whole, validation=whole.validation.first(1))
    torch.manual_seed(0)
    network = models.build(family, args, in_channels=3, classes=10)
    ticks: list[float] = []
    run = Run(task, epochs + 1, 0, torch.device("cpu"), lambda *_: ticks.append(time.perf_counter()))
    with ExitStack() as changes:
        if not way.slow_in_fp32:
            changes.enter_context(patch.object(precision, "_slow", lambda module: False))
        if not way.kept:
            changes.enter_context(patch.object(heap, "_glibc", lambda: None))
        fit(network, run, Train(batch_size=BATCH, precision=way.precision), "train")
    seconds = statistics.median(b - a for a, b in itertools.pairwise(ticks))
    return images / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure all by turns and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    runs: dict[str, dict[str, list[tuple[float, float]]]] = {n: {w: [] for w in WAYS} for n in NETWORKS}
    context = multiprocessing.get_context("spawn")
    for _, name, way in itertools.product(range(asked.repeats), NETWORKS, WAYS):
        with context.Pool(1) as pool:
            found = pool.apply(train, (name, WAYS[way], asked.images, asked.epochs))
        runs[name][way].append(found)
        print(f"{name:16} {way:18} {found[0]:8.1f} images/s {found[1]:6.0f} MiB", flush=True)
    rates, sizes = (
        {
            n: {w: statistics.median(f[i] for f in found) for w, found in ways.items()}
            for n, ways in runs.items()
        }
        for i in range(2)
    )
    ratios = {name: ways["ours"] / ways["neither"] for name, ways in rates.items()}
    write(
        "cpu_training",
        {
            "ratio": math.prod(ratios.values()) ** (1 / len(ratios)),
            "ratios": ratios,
            "images_per_second": rates,
            "resident_mib": sizes,
            "runs": runs,
            "batch": BATCH,
            "images": asked.images,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
    )


if __name__ == "__main__":
    main()
