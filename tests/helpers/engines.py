"""The engines of structured pruning, asked for one ratio everywhere."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from searcher.compression.engines import nni, torch_pruning
from searcher.compression.engines.amount import Amount


def _pruned(
    engine: Callable[..., Any], net: nn.Module, example: Tensor, ratio: float, *rest: Any, **named: Any
) -> nn.Module:
    made: nn.Module = engine(net, example, Amount(ratio), *rest, **named).net
    return made


ENGINES: dict[str, Callable[..., nn.Module]] = {
    "torch-pruning": partial(_pruned, torch_pruning.prune_channels),
    "nni": partial(_pruned, nni.prune_channels),
}
"""From a network, an example, a ratio, a criterion and more to the smaller network."""
