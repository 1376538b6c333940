"""Which convolutions must lose the same channels, and how many are left of each after structured pruning."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Part = tuple[int | None, int]
"""A stretch of channels: the weight that made them (its id; None for an input or padding), and how many."""


@dataclass
class Channels:
    """Convolutions' output channels, tied where the network adds or multiplies them.

    The rules are those of both pruning engines: tied layers lose as many channels, a grouped convolution
    loses as many in each group, and what has consumers that fix its channels stays whole (padded
    shortcuts, grouped convolutions over a concatenation, depth multipliers).
    """

    sizes: dict[int, int] = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)
    _tied: dict[int, int] = field(default_factory=dict)

    def add(self, source: int, size: int, groups: int) -> None:
        """A convolution that makes channels of its own, in so many groups."""
        self.sizes[source] = size
        self.blocks[source] = math.lcm(self.blocks.get(source, 1), groups)

    def fix(self, parts: Sequence[Part]) -> None:
        """Keep these channels whole."""
        self.fixed.update(source for source, _ in parts if source is not None)

    def read_in_groups(self, parts: Sequence[Part], groups: int) -> None:
        """A grouped convolution reads these channels."""
        if len(parts) == 1 and parts[0][0] is not None:
            source = parts[0][0]
            self.blocks[source] = math.lcm(self.blocks[source], groups)
        else:
            self.fix(parts)

    def tie(self, one: Sequence[Part], other: Sequence[Part]) -> None:
        """Two tensors are added or multiplied channel by channel."""
        if [size for _, size in one] != [size for _, size in other]:
            self.fix([*one, *other])
            return
        for (a, size), (b, _) in zip(one, other, strict=True):
            if a is None or b is None:
                self.fix([(a, size), (b, size)])
            else:
                self._tied[self._root(a)] = self._root(b)

    def after(self, ratio: float) -> dict[int, int]:
        """The channels of every convolution after a ratio of them is removed; those that stay whole not."""
        groups: dict[int, list[int]] = {}
        for source in self.sizes:
            groups.setdefault(self._root(source), []).append(source)
        left: dict[int, int] = {}
        for group in groups.values():
            if self.fixed.isdisjoint(group):
                blocks = math.lcm(*(self.blocks[source] for source in group))
                size = self.sizes[group[0]]
                each = size // blocks
                left |= dict.fromkeys(group, size - blocks * min(round(each * ratio), each - 1))
        return left

    def _root(self, source: int) -> int:
        while source in self._tied and self._tied[source] != source:
            source = self._tied[source]
        return source
