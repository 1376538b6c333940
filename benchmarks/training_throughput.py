"""Images a second of the training loop, against a plain PyTorch loop.

The plain loop is the tutorial's: a DataLoader with per-image transforms (pad and crop, mirror, normalise),
worker processes as there are cores, fp32, contiguous tensors. Ours is `stages.train.fit` itself, as it is and
compiled. Both train the same net by the same optimizer on the same CIFAR-10 images, by turns. `ratio` is the
geometric mean over the networks of ours / plain.

    SEARCHER_DATA=… python -m benchmarks.training_throughput [--images 1024] [--repeats 3]

Writes `benchmarks/results/training_throughput.json`.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.figures import write
from searcher import models, tasks
from searcher.compression.training import Run, autocast, fit
from searcher.config.recipe import Train
from searcher.config.study import Compile
from searcher.execution.launcher import cores
from searcher.tasks.base import Split, Task

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "DenseNet k=4": ("densenet", {"growth_rate": 4}),
    "ResNet-20": ("resnet20", {}),
}
BATCH = 128
TRAINING = Train(batch_size=BATCH)
EPOCHS = 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class PerImage(Dataset[tuple[Tensor, int]]):
    """CIFAR-10 images, each transformed on its own."""

    def __init__(self, split: Split, task: Task) -> None:
        self.images, self.labels = split.images, split.labels
        self.mean = torch.tensor(task.mean).view(-1, 1, 1)
        self.std = torch.tensor(task.std).view(-1, 1, 1)

    def __len__(self) -> int:
        """How many images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image, cropped, mirrored and normalised, (C, H, W); and its class."""
        image = F.pad(self.images[index], (4,) * 4)
        top, left = torch.randint(0, 9, (2,)).tolist()
        image = image[:, top : top + 32, left : left + 32]
        if torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image.float() / 255 - self.mean) / self.std, int(self.labels[index])


def plain(model: nn.Module, task: Task, epochs: int, ended: Callable[[], None]) -> None:
    """The tutorial's loop."""
    model.to(DEVICE).train()
    loader = DataLoader(
        PerImage(task.train, task), BATCH, shuffle=True, num_workers=cores(), persistent_workers=True
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for _ in range(epochs):
        for images, labels in loader:
            images, labels = images.to(DEVICE), labels.to(DEVICE)
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        ended()


def ours(model: nn.Module, task: Task, epochs: int, ended: Callable[[], None], compile: Compile) -> None:
    """The product's loop."""
    fit(model, Run(task, epochs, 0, DEVICE, lambda *_: ended(), compile=compile), TRAINING, "train")


def rate(loop: Callable[..., None], images: int) -> tuple[float, float]:
    """Images a second of an epoch, the median but for the first, and the seconds of the first.

    In the first epoch workers are started, and what is compiled is.
    """
    ticks = [time.perf_counter()]
    loop(epochs=EPOCHS, ended=lambda: ticks.append(time.perf_counter()))
    first, *others = (b - a for a, b in itertools.pairwise(ticks))
    return images / statistics.median(others), first


def main() -> None:
    """Measure all by turns and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    whole = tasks.entry("cifar10").load().trained_on(asked.images)
    # Ours looks at the validation split after each epoch, which the plain loop does not.
    task = replace(whole, validation=Split(whole.validation.images[:1], whole.validation.labels[:1]))
    ways: dict[str, Callable[..., None]] = {
        "plain": partial(plain, task=task),
        "ours": partial(ours, task=task, compile="off"),
        "ours, compiled": partial(ours, task=task, compile="default"),
    }
    if DEVICE.type == "cuda":
        ways["ours, CUDA graphs"] = partial(ours, task=task, compile="cuda-graphs")
    seen: dict[str, dict[str, list[float]]] = {n: {w: [] for w in ways} for n in NETWORKS}
    starting: dict[str, dict[str, float]] = {}
    for _ in range(asked.repeats):
        for name, (family, args) in NETWORKS.items():
            for way, loop in ways.items():
                torch.manual_seed(0)
                model = models.build(family, args, in_channels=3, classes=10)
                found, first = rate(partial(loop, model), asked.images)
                seen[name][way].append(found)
                starting.setdefault(name, {}).setdefault(way, first)
                print(f"{name:14} {way:18} {found:8.1f} images/s", flush=True)
    medians = {n: {w: statistics.median(rates) for w, rates in found.items()} for n, found in seen.items()}
    ratios = {n: {w: r / found["plain"] for w, r in found.items()} for n, found in medians.items()}
    own = [found["ours"] for found in ratios.values()]
    with autocast(DEVICE):
        bf16 = torch.is_autocast_enabled(DEVICE.type)
    write(
        "training_throughput",
        {
            "ratio": math.prod(own) ** (1 / len(own)),
            "images_per_second": medians,
            "ratios": ratios,
            "seconds_of_the_first_epoch": starting,
            "runs": seen,
            "batch": BATCH,
            "images": asked.images,
            "device": str(DEVICE),
            "threads": torch.get_num_threads(),
            "bf16": bf16,
        },
    )


if __name__ == "__main__":
    main()
