"""The share of channels that structured pruning takes: the rule of both engines and of the prediction."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from searcher.errors import SearcherError, TrialError, unknown

MIN_SHARE = 0.25
"""The least share of the asked ratio that must be removed for the result to count as pruned."""


@dataclass(frozen=True)
class Amount:
    """The share of a network's channels to remove.

    Attributes:
        ratio: Of the output channels of every convolution.
        ratios: Instead of it, of the convolutions inside a module, by its path; the innermost counts.
        together: Whether `ratio` is of all the convolutions together, and the criterion's to share out.
        multiple: The number of channels that is left of a layer is a multiple of it, where that is possible.
        part: The part of the ratios that is to be removed by now: below 1 before the last of several steps.
        had: The channels of the convolutions before the first step, by path; they have them still if empty.
    """

    ratio: float
    ratios: Mapping[str, float] = field(default_factory=dict)
    together: bool = False
    multiple: int = 1
    part: float = 1.0
    had: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """The ratio of a convolution."""
        around = [outer for outer in self.ratios if f"{name}.".startswith(f"{outer}.")]
        return self.ratios[max(around, key=len)] if around else self.ratio

    def left(self, names: Collection[str], size: int, blocks: int) -> int:
        """The channels that stay of convolutions that must lose the same ones; at least one in each block.

        Args:
            names: The convolutions' paths.
            size: The channels that each has.
            blocks: As many blocks of their channels must lose the same number.
        """
        ratio = min(map(self.of, names)) * self.part
        before = max((self.had.get(name, size) for name in names), default=size)
        each = before // blocks
        removed = blocks * min(round(each * ratio), each - 1)
        return min(size, self.rounded(before - removed, before, blocks)) if removed else size

    def rounded(self, left: int, before: int, blocks: int) -> int:
        """The nearest multiple to so many channels, at least one; all of them where none is below that."""
        unit = math.lcm(self.multiple, blocks)
        nearest = unit * max(1, math.floor(left / unit + 0.5))
        return left if self.multiple == 1 else min(nearest, before)

    def asked(self, before: Mapping[str, int]) -> float:
        """The share of all channels that is asked for, of the convolutions before, by path."""
        return sum(self.of(name) * size for name, size in before.items()) / sum(before.values())


def check_ratios(model: nn.Module, ratios: Iterable[str]) -> None:
    """Refuse ratios of what has no channels to remove.

    Raises:
        SearcherError: A path that is not a module, or a module without a convolution.
    """
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    for name in ratios:
        if name not in modules:
            raise unknown("module", name, modules)
        if not any(isinstance(inner, nn.Conv2d) for inner in modules[name].modules()):
            raise SearcherError(f"ratios: {name} has no convolution whose channels could be removed")


def check_removed(engine: str, before: Mapping[str, int], after: Mapping[str, int], amount: Amount) -> None:
    """Refuse a result from which too few channels were removed.

    Args:
        engine: What has removed them.
        before: The channels that there were to remove from, by convolution.
        after: Those that are left.
        amount: What was to be removed.

    Raises:
        TrialError: Less than `MIN_SHARE` of it was removed, or there were none to begin with.
    """
    if not before:
        raise TrialError(f"{engine}: the network has no layer whose channels could be removed")
    removed, ratio = 1 - sum(after.values()) / sum(before.values()), amount.asked(before)
    if removed < ratio * MIN_SHARE:
        raise TrialError(
            f"{engine} was asked to remove {ratio:.1%} of the channels and could remove {removed:.1%}: "
            "the layers are too narrow, kept, or fixed by group convolutions or padded shortcuts"
        )
