"""Images a second of the training loop, against a plain PyTorch loop.

The plain loop is the tutorial's: a DataLoader with per-image transforms (pad and crop, mirror, normalise),
worker processes as there are cores, fp32, contiguous tensors. Ours is `compression.training.fit` itself: as
it is, which on a GPU is a replayed CUDA graph; there also with its kernels launched one by one; and compiled.
All train the same net by the same optimizer on the same CIFAR-10 images, by turns. `ratio` is the geometric
mean over the networks of ours / plain at a batch of 128. `of_the_limit` is the share of what the device could
do (`benchmarks/limit.py`), `share_of_evaluation` the part of an epoch in which validation images are read,
which is measured with the 5,000 of CIFAR-10 and on a GPU with all the training images.

    SEARCHER_DATA=… python -m benchmarks.training_throughput [--images 1024] [--repeats 3] [--batches 128]
        [--ways plain ours "ours, compiled"]

Writes `benchmarks/results/training_throughput.json`, or on a GPU `training_throughput_cuda.json`.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks import limit
from benchmarks.figures import write
from searcher import models, tasks
from searcher.compression import cuda_graphs, training
from searcher.compression.precision import autocast
from searcher.compression.training import Run, fit
from searcher.config.recipe import Train
from searcher.config.study import Compile
from searcher.execution.launcher import cores
from searcher.tasks.base import Split, Task
from searcher.tasks.classification.task import Classification

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "DenseNet k=4": ("densenet", {"growth_rate": 4}),
    "ResNet-20": ("resnet20", {}),
}
BATCH = 128
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


def plain(model: nn.Module, task: Task, batch: int, epochs: int, ended: Callable[[], None]) -> None:
    """The tutorial's loop."""
    model.to(DEVICE).train()
    loader = DataLoader(
        PerImage(task.train, task), batch, shuffle=True, num_workers=cores(), persistent_workers=True
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for _ in range(epochs):
        for images, labels in loader:
            images, labels = images.to(DEVICE), labels.to(DEVICE)
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        ended()


def ours(
    model: nn.Module,
    task: Task,
    batch: int,
    epochs: int,
    ended: Callable[[], None],
    compile: Compile = "off",
    launched: bool = False,
) -> None:
    """The product's loop."""
    run = Run(task, epochs, 0, DEVICE, lambda *_: ended(), compile=compile)
    recorder = (lambda device: None) if launched else cuda_graphs.recorder
    with patch.object(training, "recorder", recorder):
        fit(model, run, Train(batch_size=batch), "train")


WAYS: dict[str, Callable[..., None]] = {
    "plain": plain,
    "ours": ours,
    "ours, compiled": partial(ours, compile="default"),
}
if DEVICE.type == "cuda":
    WAYS["ours, launched"] = partial(ours, launched=True)


def rate(loop: Callable[..., None], images: int) -> tuple[float, float]:
    """Images a second of an epoch, the median but for the first, and the seconds of the first.

    In the first epoch workers are started, and what is compiled is.
    """
    ticks = [time.perf_counter()]
    loop(epochs=EPOCHS, ended=lambda: ticks.append(time.perf_counter()))
    first, *others = (b - a for a, b in itertools.pairwise(ticks))
    return images / statistics.median(others), first


def network(name: str) -> nn.Module:
    """One of the networks, untrained; the same ones every time."""
    family, args = NETWORKS[name]
    torch.manual_seed(0)
    return models.build(family, args, in_channels=3, classes=10)


def fastest(name: str, task: Task, batch: int) -> dict[str, float]:
    """The images a second that the device's ceilings allow, and by which one."""
    one = task.trained_on(batch)
    needs = limit.work(lambda: ours(network(name), one, batch, 1, lambda: None))
    with autocast(DEVICE):
        bf16 = torch.is_autocast_enabled(DEVICE.type)
    ceilings = limit.ceilings(DEVICE, torch.bfloat16 if bf16 else torch.float32)
    return {
        "images_per_second": batch / needs.seconds(ceilings),
        "operations_per_image": needs.operations / batch,
        "bytes_per_image": needs.bytes / batch,
        "operations_per_second": ceilings.operations,
        "bytes_per_second": ceilings.bytes,
    }


@dataclass(frozen=True)
class Timed(Classification):
    """A task that measures how long its validation takes."""

    seconds: list[float]

    def quality(self, model: nn.Module, split: Split) -> float:
        """Top-1 accuracy."""
        started = time.perf_counter()
        found = super().quality(model, split)
        self.seconds.append(time.perf_counter() - started)
        return found


def evaluation(name: str, task: Task) -> float:
    """The share of an epoch in which validation images are read, the median of all epochs but the first."""
    known = {field.name: getattr(task, field.name) for field in fields(task)}
    timed, ticks = Timed(**known, seconds=[]), [time.perf_counter()]
    ours(network(name), timed, BATCH, EPOCHS, lambda: ticks.append(time.perf_counter()))
    epochs = [b - a for a, b in itertools.pairwise(ticks)]
    return statistics.median(
        read / whole for read, whole in list(zip(timed.seconds, epochs, strict=True))[1:]
    )


def main() -> None:
    """Measure all by turns and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[BATCH])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    asked = parser.parse_args()
    everything = tasks.entry("cifar10").load()
    whole = everything.trained_on(asked.images)
    # Ours looks at the validation split after each epoch, which the plain loop does not.
    task = replace(whole, validation=whole.validation.first(1))
    ways = {way: WAYS[way] for way in asked.ways}
    cases = [(name, batch) for name in NETWORKS for batch in asked.batches]
    seen: dict[str, dict[str, list[float]]] = {_case(*case): {w: [] for w in ways} for case in cases}
    starting: dict[str, dict[str, float]] = {}
    for _ in range(asked.repeats):
        for name, batch in cases:
            for way, loop in ways.items():
                turn = partial(loop, network(name), task=task, batch=batch)
                found, first = rate(turn, asked.images)
                case = _case(name, batch)
                seen[case][way].append(found)
                starting.setdefault(case, {}).setdefault(way, first)
                print(f"{case:26} {way:18} {found:10.1f} images/s", flush=True)
    medians = {n: {w: statistics.median(rates) for w, rates in found.items()} for n, found in seen.items()}
    ratios = {n: {w: r / found["plain"] for w, r in found.items()} for n, found in medians.items()}
    limits = {_case(name, batch): fastest(name, task, batch) for name, batch in cases}
    own = [ratios[_case(name, BATCH)]["ours"] for name in NETWORKS]
    with autocast(DEVICE):
        bf16 = torch.is_autocast_enabled(DEVICE.type)
    write(
        "training_throughput" + ("_cuda" if DEVICE.type == "cuda" else ""),
        {
            "ratio": math.prod(own) ** (1 / len(own)),
            "images_per_second": medians,
            "ratios": ratios,
            "of_the_limit": {
                n: {w: r / limits[n]["images_per_second"] for w, r in found.items()}
                for n, found in medians.items()
            },
            "limit": limits,
            "share_of_evaluation": {name: evaluation(name, everything) for name in NETWORKS}
            if DEVICE.type == "cuda"
            else {name: evaluation(name, whole) for name in NETWORKS},
            "seconds_of_the_first_epoch": starting,
            "runs": seen,
            "images": asked.images,
            "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else str(DEVICE),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "bf16": bf16,
        },
    )


def _case(name: str, batch: int) -> str:
    return name if batch == BATCH else f"{name}, batch {batch}"


if __name__ == "__main__":
    main()
