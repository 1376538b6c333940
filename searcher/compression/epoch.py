"""All that is random in an epoch, drawn at once on the CPU: a row for each image that is trained on."""

import torch
from torch import Tensor

from searcher.tasks.base import Task

PLACE, PARTNER, WEIGHT, DRAWS = 0, 1, 2, 3
"""Columns: the image's place in the split, its partner's in the batch and its own weight for mixup, and from
`DRAWS` on what the task's augmentation has drawn."""


def rows(task: Task, images: int, batch_size: int, mixup: float, generator: torch.Generator) -> Tensor:
    """An epoch's rows (images, 3 or more), in the order in which the images are trained on.

    They are float64, which holds every place exactly, so that all of it is one tensor to send to a GPU.

    Args:
        task: Whose augmentation draws.
        images: How many are trained on.
        batch_size: Of a step; the last one may be smaller.
        mixup: Alpha of the Beta distribution of the weights, one for each batch; 0 is off.
        generator: Draws everything.
    """
    order = torch.randperm(images, generator=generator)
    partner, weight = torch.zeros(images, dtype=torch.float64), torch.ones(images, dtype=torch.float64)
    if mixup:
        for start in range(0, images, batch_size):
            batch = slice(start, min(start + batch_size, images))
            partner[batch] = torch.randperm(batch.stop - start, generator=generator).double()
            weight[batch] = beta(mixup, generator)
    drawn = task.draw(images, generator).double()
    return torch.cat([torch.stack([order.double(), partner, weight], 1), drawn], 1)


def sent(table: Tensor, device: torch.device) -> Tensor:
    """An epoch's rows on a device; nothing waits for the copy."""
    return table.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else table


def beta(alpha: float, generator: torch.Generator) -> float:
    """A Beta(alpha, alpha) draw by Jöhnk's algorithm, which is exact and quick for alpha ≤ 1."""
    # A draw from two Gamma draws would ignore the generator; two powered uniforms use it.
    while True:
        u, v = torch.rand(2, generator=generator, dtype=torch.float64).pow(1 / alpha).tolist()
        if 0 < u + v <= 1:
            return float(u / (u + v))
