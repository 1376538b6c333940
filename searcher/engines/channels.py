"""What the engines for structured pruning share: what is kept whole, and whether enough was removed."""

from collections.abc import Sequence

from torch import nn

from searcher.errors import TrialError, unknown

MIN_SHARE = 0.25
"""The least share of the asked ratio that must be removed for the result to count as pruned."""


def kept_modules(net: nn.Module, keep: Sequence[str]) -> dict[str, nn.Module]:
    """The modules of the given names and all that is inside them, by name.

    Raises:
        SearcherError: No module of a name.
    """
    modules = dict(net.named_modules())
    for name in keep:
        if name not in modules:
            raise unknown("module", name, modules)
    return {n: m for n, m in modules.items() if any(f"{n}.".startswith(f"{name}.") for name in keep)}


def check_removed(engine: str, removed: float, ratio: float) -> None:
    """Refuse a result from which too few channels were removed.

    Raises:
        TrialError: Less than `MIN_SHARE` of the ratio was removed.
    """
    if removed < ratio * MIN_SHARE:
        raise TrialError(
            f"{engine} was asked to remove {ratio:.1%} of the channels and could remove {removed:.1%}: "
            "the layers are too narrow, kept, or fixed by group convolutions or padded shortcuts"
        )
