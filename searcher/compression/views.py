"""Fixed views of the training images, and a teacher's outputs of them, which are computed once."""

import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.augmentation import Augmentation
from searcher.compression.checkpoint import Checkpoint
from searcher.compression.engines import weights
from searcher.compression.epoch import draw
from searcher.compression.precision import autocast
from searcher.compression.store import Slot
from searcher.compression.training import Run
from searcher.config.stages.base import Precision
from searcher.tasks.base import Batch, Task

VERSION = 1
"""Of the views and of how a teacher sees them: a new one makes other outputs."""

BATCH = 500
"""Images that a teacher sees at a time."""


@dataclass(frozen=True)
class Views:
    """What a teacher says to fixed views of every training image.

    Attributes:
        draws: What changes the images, (views, images, any).
        said: The outputs, a level of them (views, images, ...), on the training's device.
    """

    draws: Tensor
    said: list[Tensor]

    def of(self, batch: Batch) -> Any:
        """The outputs for a batch, as the teacher would return them."""
        levels = tuple(level[batch.views, batch.chosen] for level in self.said)
        return levels[0] if len(levels) == 1 else levels


def drawn(task: Task, augmentation: Augmentation, count: int, seed: int) -> Tensor:
    """What changes each image in so many views: (views, images, any) float64."""
    generators = [
        torch.Generator().manual_seed(seed * 2**32 + zlib.crc32(f"view {n}".encode())) for n in range(count)
    ]
    return torch.stack([draw(task, augmentation, len(task.train), one) for one in generators])


def views(
    teacher: nn.Module, run: Run, augmentation: Augmentation, precision: Precision, count: int, made: str
) -> Views:
    """The views of a run's training images, with a teacher's outputs.

    Args:
        teacher: On the run's device.
        run: Task, seed, device, and the store or the checkpoints that keep the outputs.
        augmentation: The training's own.
        precision: In which the teacher runs.
        count: Of the views.
        made: The digest of what the teacher is made by; empty where nothing names it, and nothing is kept.
    """
    draws = drawn(run.task, augmentation, count, run.seed)
    depends = [VERSION, made, count, precision, asdict(augmentation)]
    digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:32] if made else ""
    with _slot(run, digest) as slot:
        found = slot.find() if slot else None
        checkpoint = _checkpoint(run, digest)
        state = weights.unpack(found.content) if found else checkpoint.load()
        if state is None:
            print(f"the teacher sees {count} views of {len(run.task.train):,} images once", flush=True)
            said = _said(teacher, run, augmentation, draws, precision)
            state = {str(place): level for place, level in enumerate(said)}
            checkpoint.save(state)
            if slot:
                about = {"words": f"a teacher's outputs of {count} views", "task": run.task.name}
                slot.save(weights.pack(state), about | {"seed": run.seed, "epochs": run.epochs})
        said = [state[str(place)] for place in range(len(state))]
    return Views(draws, [level.to(run.device) for level in said])


@contextmanager
def _slot(run: Run, digest: str) -> Iterator[Slot | None]:
    if run.store is None or not digest:
        yield None
        return
    with run.store.slot(digest) as slot:
        yield slot


def _checkpoint(run: Run, digest: str) -> Checkpoint:
    """Where a run without a store keeps the outputs, so that one that was killed does not ask anew."""
    if run.checkpoints is None or run.store is not None or not digest:
        return Checkpoint(None)
    return run.checkpoints.named(f"views-{digest}")


@torch.no_grad()
def _said(
    teacher: nn.Module, run: Run, augmentation: Augmentation, draws: Tensor, precision: Precision
) -> list[Tensor]:
    """The levels of a teacher's outputs, (views, images, ...) each, on the CPU."""
    train, every = run.task.train, []
    for one in draws:
        levels: list[tuple[Tensor, ...]] = []
        for start in range(0, len(train), BATCH):
            part = slice(start, start + BATCH)
            batch = (train.images[part], train.labels[part], one[part])
            seen, _ = augmentation.normalised(run.task, *(tensor.to(run.device) for tensor in batch))
            with autocast(run.device, precision):
                outputs = teacher(seen)
            alone = isinstance(outputs, Tensor)
            levels.append(tuple(level.float().cpu() for level in ((outputs,) if alone else outputs)))
        every.append([torch.cat(level) for level in zip(*levels, strict=True)])
    return [torch.stack(level) for level in zip(*every, strict=True)]
