"""Coupled channels in the order in which they are removed, and a ratio shared out among all layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from searcher.compression.engines.amount import Amount

MOST = 0.9
"""The share of its channels that a layer loses at most where the ratio is of all layers together."""


@dataclass(frozen=True)
class Ranked:
    """Convolutions that must lose the same channels.

    Attributes:
        names: Their paths.
        blocks: As many blocks of their channels must lose the same positions.
        scores: The importance of each position in a block.
    """

    names: tuple[str, ...]
    blocks: int
    scores: Tensor

    @property
    def size(self) -> int:
        """The channels of each convolution."""
        return self.blocks * len(self.scores)

    def least(self, left: int) -> list[int]:
        """The channels to remove so that so many are left."""
        count = (self.size - left) // self.blocks
        positions = self.scores.argsort(stable=True)[:count].tolist()
        return sorted(p + block * len(self.scores) for block in range(self.blocks) for p in positions)


def left(layers: Sequence[Ranked], amount: Amount) -> list[int]:
    """The channels that stay of each of some coupled convolutions."""
    if amount.together:
        return _shared_out(layers, amount)
    return [amount.left(one.names, one.size, one.blocks) for one in layers]


def _shared_out(layers: Sequence[Ranked], amount: Amount) -> list[int]:
    """Remove the least important channels of all layers until the ratio of their channels is removed.

    The scores of a layer are divided by their mean: layers differ in what they count, not in their sizes.
    """
    had = [max((amount.had.get(name, one.size) for name in one.names), default=one.size) for one in layers]
    every = sum(size * len(one.names) for one, size in zip(layers, had, strict=True))
    now = sum(one.size * len(one.names) for one in layers)
    wanted = now - every * (1 - amount.ratio * amount.part)
    most = max(MOST, (1 + amount.ratio) / 2)
    least = [math.ceil(size // one.blocks * (1 - most)) for one, size in zip(layers, had, strict=True)]
    order = sorted(
        (score / max(float(one.scores.mean()), 1e-12), place)
        for place, one in enumerate(layers)
        for score in one.scores.tolist()
    )
    stay = [len(one.scores) for one in layers]
    for _, place in order:
        each = layers[place].blocks * len(layers[place].names)
        # Half of what the next one takes: as near to the ratio as whole channels come.
        if wanted < each / 2:
            break
        if stay[place] > max(1, least[place]):
            stay[place] -= 1
            wanted -= each
    found = [count * one.blocks for count, one in zip(stay, layers, strict=True)]
    return [
        min(one.size, amount.rounded(count, size, one.blocks)) if count < size else size
        for one, count, size in zip(layers, found, had, strict=True)
    ]
