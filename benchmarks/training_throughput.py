"""Images a second of the training loop, against a plain PyTorch loop.

The plain loop is the tutorial's: a DataLoader with per-image transforms (pad and crop, mirror, normalise),
worker processes as there are cores, fp32, contiguous tensors. Ours is `stages.train.fit` itself, as it is and
compiled. Both train the same net by the same optimizer on the same CIFAR-10 images, by turns. `ratio` is the
geometric mean over the networks of ours / plain.

    SEARCHER_DATA=… python -m benchmarks.training_throughput [--images 2048] [--repeats 5]

Writes `benchmarks/results/training_throughput.json`.
"""

import argparse
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
from searcher.launch import cores
from searcher.recipe import Train
from searcher.stages.train import Run, autocast, fit
from searcher.study import Compile
from searcher.tasks.task import Split, Task

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "DenseNet k=4": ("densenet", {"growth_rate": 4}),
    "ResNet-20": ("resnet20", {}),
}
BATCH = 128
TRAINING = Train(batch_size=BATCH)
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


def plain(model: nn.Module, task: Task, epochs: int) -> None:
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


def ours(model: nn.Module, task: Task, epochs: int, compile: Compile) -> None:
    """The product's loop."""
    fit(model, Run(task, epochs, 0, DEVICE, lambda *_: None, compile=compile), TRAINING, "train")


def rate(loop: Callable[[int], None], images: int) -> float:
    """Images a second of an epoch: what a loop takes for three epochs less what it takes for one."""
    loop(1)  # compiles what is compiled
    took = []
    for epochs in (1, 3):
        begun = time.perf_counter()
        loop(epochs)
        took.append(time.perf_counter() - begun)
    return 2 * images / (took[1] - took[0])


def main() -> None:
    """Measure all by turns and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    whole = tasks.entry("cifar10").load().trained_on(asked.images)
    # Ours looks at the validation split after each epoch, which the plain loop does not.
    task = replace(whole, validation=Split(whole.validation.images[:1], whole.validation.labels[:1]))
    ways: dict[str, Callable[[nn.Module, int], None]] = {
        "plain": lambda model, epochs: plain(model, task, epochs),
        "ours": lambda model, epochs: ours(model, task, epochs, "off"),
        "ours, compiled": lambda model, epochs: ours(model, task, epochs, "default"),
    }
    if DEVICE.type == "cuda":
        ways["ours, CUDA graphs"] = lambda model, epochs: ours(model, task, epochs, "cuda-graphs")
    seen: dict[str, dict[str, list[float]]] = {n: {w: [] for w in ways} for n in NETWORKS}
    compiling: dict[str, float] = {}
    for _ in range(asked.repeats):
        for name, (family, args) in NETWORKS.items():
            for way, loop in ways.items():
                torch.manual_seed(0)
                model = models.build(family, args, in_channels=3, classes=10)
                begun = time.perf_counter()
                seen[name][way].append(rate(partial(loop, model), asked.images))
                spent = time.perf_counter() - begun
                compiling.setdefault(f"{name}, {way}", spent)
                print(f"{name:14} {way:18} {seen[name][way][-1]:8.1f} images/s  {spent:.1f} s", flush=True)
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
            "first_time_seconds": compiling,
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
