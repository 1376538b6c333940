"""Groups of convolutions that lose the same channels, and what structured pruning leaves of each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Other(Enum):
    """The maker of channels that no engine removes: zeros, an input, or a layer that is no convolution."""

    PADDING = "padding"
    WHOLE = "whole"


Part = tuple[int | Other, int]
"""A stretch of channels: the weight that made them (its id) or what else, and how many."""


@dataclass(frozen=True)
class Origin:
    """The makers of an activation's channels, its second dimension.

    Attributes:
        parts: Stretches of channels, in their order.
        summed: Whether several tensors were added or multiplied on the way.
        flat: Whether a channel is several elements of the second dimension, after flattening.
    """

    parts: tuple[Part, ...]
    summed: bool = False
    flat: bool = False

    @property
    def prunable(self) -> bool:
        """Whether a convolution has made some of the channels."""
        return any(isinstance(source, int) for source, _ in self.parts)


def whole(size: int) -> Origin:
    """Channels of an input, or of a layer that is no convolution."""
    return Origin(((Other.WHOLE, size),))


@dataclass
class Channels:
    """Convolutions' output channels, tied where the network adds or multiplies them.

    The rules are those of both pruning engines: tied layers lose as many channels, a grouped convolution
    loses as many in each group, and what has consumers that fix its channels stays whole (padded
    shortcuts, grouped convolutions over a concatenation, depth multipliers).

    Attributes:
        place: Says which module runs.
        lost: Why the channels cannot be followed with certainty; None where they can.
    """

    place: Callable[[], str] = lambda: "the network"
    lost: str | None = None
    sizes: dict[int, int] = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)
    fixed: set[int] = field(default_factory=set)
    _tied: dict[int, int] = field(default_factory=dict)

    def add(self, source: int, size: int, groups: int) -> Origin:
        """A convolution that makes channels of its own, in so many groups."""
        self.sizes[source] = size
        self.blocks[source] = math.lcm(self.blocks.get(source, 1), groups)
        return Origin(((source, size),))

    def fix(self, *origins: Origin) -> None:
        """Keep these channels whole."""
        self.fixed.update(
            source for origin in origins for source, _ in origin.parts if isinstance(source, int)
        )

    def lose(self, what: str, *origins: Origin) -> None:
        """The engines may treat these channels in ways of their own, if a convolution has made them."""
        if any(origin.prunable for origin in origins):
            self.give_up(what)

    def give_up(self, what: str) -> None:
        """The engines may treat the convolution that runs in ways of their own."""
        self.lost = self.lost or f"{what} in {self.place()}"

    def read_in_groups(self, origin: Origin, groups: int) -> None:
        """A grouped convolution reads these channels."""
        if origin.summed:
            self.lose("a grouped convolution that reads a sum", origin)
        source = origin.parts[0][0]
        if len(origin.parts) == 1 and isinstance(source, int):
            self.blocks[source] = math.lcm(self.blocks[source], groups)
        else:
            self.fix(origin)

    def read_one_by_one(self, origin: Origin) -> None:
        """A depthwise convolution reads these channels and passes them on."""
        if len(origin.parts) > 1 or origin.summed or not origin.prunable:
            self.give_up("a depthwise convolution that does not read one convolution")

    def tie(self, one: Origin, other: Origin) -> Origin:
        """Two tensors are added or multiplied channel by channel."""
        if [size for _, size in one.parts] != [size for _, size in other.parts] or one.flat or other.flat:
            self.lose("a sum or product of unlike concatenations", one, other)
            return one
        pairs = list(zip(one.parts, other.parts, strict=True))
        for (a, size), (b, _) in pairs:
            self._tie(a, b, size)
        return Origin(tuple(a if isinstance(a[0], int) else b for a, b in pairs), summed=True)

    def _tie(self, a: int | Other, b: int | Other, size: int) -> None:
        if isinstance(a, int) and isinstance(b, int):
            self._tied[self._root(a)] = self._root(b)
            return
        both = Origin(((a, size), (b, size)))
        if Other.PADDING in (a, b):
            self.fix(both)
        else:
            self.lose("a sum or product with channels that no convolution made", both)

    def after(self, left: Callable[[Sequence[int], int, int], int]) -> dict[int, int]:
        """The channels of every convolution after pruning; those that stay whole not.

        Args:
            left: The channels that stay of tied convolutions, by the ids of their weights, of the channels
                that each has, and of as many blocks that must lose the same number.
        """
        groups: dict[int, list[int]] = {}
        for source in self.sizes:
            groups.setdefault(self._root(source), []).append(source)
        stay: dict[int, int] = {}
        for group in groups.values():
            if self.fixed.isdisjoint(group):
                blocks = math.lcm(*(self.blocks[source] for source in group))
                stay |= dict.fromkeys(group, left(group, self.sizes[group[0]], blocks))
        return stay

    def _root(self, source: int) -> int:
        while source in self._tied and self._tied[source] != source:
            source = self._tied[source]
        return source


def joined(origins: Sequence[Origin]) -> Origin:
    """The channels of a concatenation."""
    parts = tuple(part for origin in origins for part in origin.parts)
    return Origin(parts, any(origin.summed for origin in origins))
