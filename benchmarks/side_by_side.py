"""Images a second of several trainings at once on one device, against one training alone.

Each training is a process of its own, as trials are. They wait for each other after their first epoch, in
which a GPU's graphs are recorded; then all train the epochs that are measured. On a GPU each number of
trainings is measured with NVIDIA's MPS and without, where MPS is to be had. `ratio` is the geometric mean
over the networks of the best of the largest number / one alone.

    SEARCHER_DATA=… python -m benchmarks.side_by_side [--trials 1 2 4 8] [--images 10000] [--epochs 4]

Writes `benchmarks/results/side_by_side.json`, or on a GPU `side_by_side_cuda.json`.
"""

import argparse
import math
import multiprocessing
import time
from dataclasses import replace
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

import torch

from benchmarks.figures import write
from benchmarks.training_throughput import BATCH, NETWORKS, network
from searcher import tasks
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train
from searcher.execution import mps
from searcher.execution.launcher import cores


def train(
    name: str, images: int, epochs: int, threads: int, barrier: Barrier, ends: "Queue[tuple[float, float]]"
) -> None:
    """One training; it says when its measured epochs began and ended."""
    torch.set_num_threads(threads)
    whole = tasks.entry("cifar10").load().trained_on(images)
    task = replace(whole, validation=whole.validation.first(1))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ticks: list[float] = []

    def ended(stage: str, epoch: int, count: int, accuracy: float) -> None:
        if epoch == 1:
            barrier.wait()
        ticks.append(time.monotonic())

    fit(network(name), Run(task, epochs + 1, 0, device, ended), Train(batch_size=BATCH), "train")
    ends.put((ticks[0], ticks[-1]))


def rate(name: str, count: int, images: int, epochs: int) -> float:
    """Images a second of so many trainings, all together."""
    context = multiprocessing.get_context("spawn")
    barrier, ends = context.Barrier(count), context.Queue()
    arguments = (name, images, epochs, max(1, cores() // count), barrier, ends)
    processes = [context.Process(target=train, args=arguments) for _ in range(count)]
    for process in processes:
        process.start()
    spans: list[tuple[float, float]] = [ends.get() for _ in processes]
    for process in processes:
        process.join()
    return count * epochs * images / (max(end for _, end in spans) - min(begun for begun, _ in spans))


def main() -> None:
    """Measure every number of trainings and write the figures."""
    cuda = torch.cuda.device_count() > 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, nargs="+", default=[1, 2, 4, 8] if cuda else [1, 2])
    parser.add_argument("--images", type=int, default=10_000 if cuda else 1024)
    parser.add_argument("--epochs", type=int, default=4)
    asked = parser.parse_args()
    seen: dict[str, dict[str, float]] = {}

    def measure(count: int, way: str) -> None:
        for name in NETWORKS:
            found = rate(name, count, asked.images, asked.epochs)
            seen.setdefault(name, {})[f"{count}{way}"] = found
            print(f"{name:14} {count} at once{way:12} {found:10.1f} images/s", flush=True)

    for count in asked.trials:
        measure(count, "")
    several = [count for count in asked.trials if count > 1]
    if cuda and mps.obtainable() and several:
        with mps.served(1, print) as served:
            for count in several if served else []:
                measure(count, " with MPS")
    most = str(max(asked.trials))
    gains = [
        max(rates[most], rates.get(f"{most} with MPS", 0.0)) / rates[str(min(asked.trials))]
        for rates in seen.values()
    ]
    write(
        "side_by_side" + ("_cuda" if cuda else ""),
        {
            "ratio": math.prod(gains) ** (1 / len(gains)),
            "images_per_second": seen,
            "batch": BATCH,
            "images": asked.images,
            "epochs": asked.epochs,
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "torch": torch.__version__,
        },
    )


if __name__ == "__main__":
    main()
