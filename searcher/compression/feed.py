"""Where a training's images lie: on the device, or on the host, and are sent to it ahead of each step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from searcher.tasks.base import Split

MAX_SHARE = 1 / 8
"""Of a GPU's memory, for the images of one split: several trials share a GPU, each with its own."""


@dataclass(frozen=True)
class Feed:
    """A split for a training.

    Attributes:
        split: The images, on the device; on the host where they are sent batch by batch.
        device: Of the training.
        sends: Whether they are.
    """

    split: Split
    device: torch.device
    sends: bool

    def batches(self, order: Tensor, slices: Sequence[slice]) -> Iterator[tuple[Tensor, ...]]:
        """The images and labels of each step, where they are sent; nothing where the device has them.

        While the GPU works at a step, the next one's images are gathered and copied on a stream of their own.

        Args:
            order: The places of an epoch's images in the split, in their order, on the host.
            slices: The places of each step in the order.
        """
        if not self.sends:
            yield from ((),) * len(slices)
            return
        copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]
        ahead: list[tuple[Tensor, ...]] = []
        for place in slices:
            ahead.append(self._sent(order[place], copies))
            if len(ahead) > 1:
                yield self._arrived(ahead.pop(0), copies)
        yield from (self._arrived(batch, copies) for batch in ahead)

    def _sent(self, chosen: Tensor, copies: torch.cuda.Stream | None) -> tuple[Tensor, ...]:
        gathered = (self.split.images[chosen], self.split.labels[chosen])
        if copies is None:
            return gathered
        with torch.cuda.stream(copies):
            return tuple(one.pin_memory().to(self.device, non_blocking=True) for one in gathered)

    def _arrived(self, batch: tuple[Tensor, ...], copies: torch.cuda.Stream | None) -> tuple[Tensor, ...]:
        """The batch, for which the step's stream waits, and the host does not."""
        if copies is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(copies)
            for one in batch:
                one.record_stream(current)
        return batch


def feed(split: Split, device: torch.device) -> Feed:
    """A split on a device, or where it is too large for that, beside it."""
    if device.type != "cuda":
        return Feed(split.to(device), device, sends=False)
    size = split.images.numel() * split.images.element_size()
    if size <= MAX_SHARE * torch.cuda.get_device_properties(device).total_memory:
        return Feed(split.to(device), device, sends=False)
    print(f"{size / 1e9:.1f} GB of images stay on the host, and are sent batch by batch", flush=True)
    return Feed(split, device, sends=True)
