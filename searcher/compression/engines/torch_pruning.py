"""Structured pruning by torch-pruning's dependency graph (Fang et al. 2023)."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.dependency import graph as dependency
from torch_pruning.dependency.group import Group
from torch_pruning.pruner.function import prune_conv_in_channels, prune_conv_out_channels

from searcher.compression.engines.channel_pruning import check_removed, kept_modules
from searcher.compression.engines.labels import Kept, Labels
from searcher.compression.engines.masked import check
from searcher.compression.engines.refusals import refused
from searcher.errors import TrialError, unknown


def _distance(weight: Tensor, groups: int) -> Tensor:
    """Sum of distances from each filter to the others of its convolution group, mean 1."""
    filters = weight.detach().reshape(groups, len(weight) // groups, -1)
    score = torch.cdist(filters, filters).sum(-1).flatten()
    return score / score.mean().clamp(min=1e-12)


def geometric_median(group: Any) -> Tensor:
    """Redundancy of filters (He et al. 2019, FPGM): small near the geometric median, so replaceable.

    Args:
        group: torch-pruning's group of coupled layers.

    Returns:
        One score per channel of the group's root.
    """
    scores = torch.zeros(len(group[0].root_idxs))
    for item in group:
        layer = item.dep.layer
        if isinstance(layer, nn.Conv2d) and _writes(item):
            groups = 1 if _depthwise(layer) else layer.groups
            scores[torch.tensor(item.root_idxs)] += _distance(layer.weight, groups)[item.idxs].cpu()
    return scores


def _given(net: nn.Module, scores: Mapping[str, Tensor]) -> Callable[[Any], Tensor]:
    """An importance from given scores: of coupled channels the sum."""
    by_layer = {module: scores[name] for name, module in net.named_modules() if name in scores}

    def importance(group: Any) -> Tensor:
        total = torch.zeros(len(group[0].idxs))
        for item in group:
            if isinstance(item.dep.layer, nn.Conv2d) and _writes(item):
                total[torch.tensor(item.root_idxs)] += by_layer[item.dep.layer][item.idxs]
        return total

    return importance


CRITERIA: dict[str, Callable[[Any], Tensor]] = {
    "l1": tp.importance.GroupMagnitudeImportance(p=1),
    "l2": tp.importance.GroupMagnitudeImportance(p=2),
    "fpgm": geometric_median,
}


MAX_CHANNEL_REPEATS, MAX_GROUP_LAYERS = 20, 200
"""Limits: how often the widest layer's channels may be in one layer, and the layers of a network in a group.

With an end to it there was at most one of the former and, with attention, 40 of the latter.
"""


def prune_channels(
    model: nn.Module,
    example: Tensor,
    ratio: float,
    criterion: str,
    keep: Sequence[str] = (),
    scores: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Remove the least important output channels of every convolution; the tensors get smaller.

    Coupled layers lose the same channels; a grouped convolution or norm loses as many in each group. The
    number is ``ratio`` rounded to the nearest channel, and at least one stays. Left whole are convolutions
    whose consumers fix their channels: zero-padded shortcuts, and group convolutions or norms over a
    concatenation. What comes out is held against the network before (`searcher.compression.engines.masked`).

    Args:
        model: The network; it is copied and stays as it is.
        example: An input, (N, C, H, W); only its shape matters.
        ratio: Share of the channels to remove, between 0 and 1.
        criterion: A key of `CRITERIA`.
        keep: Dotted names of modules whose output channels stay, with all that is inside them.
        scores: Instead of a criterion of the weights, the importance of every convolution's channels.

    Returns:
        A smaller copy in eval mode, of the same module types, all its parameters trainable.

    Raises:
        SearcherError: No such criterion, or no module of a name in ``keep``.
        TrialError: Less than a quarter of the ratio could be removed, torch-pruning cannot prune this
            network, or what it makes does not compute what the network did with those channels at zero.
    """
    if criterion not in CRITERIA and scores is None:
        raise unknown("criterion", criterion, CRITERIA)
    net = copy.deepcopy(model).eval().requires_grad_(True)
    kept = set(kept_modules(net, keep).values())
    before = _channels(net, kept)
    with refused("torch-pruning", "prune"):
        importance = CRITERIA[criterion] if scores is None else _given(net, scores)
        left = _prune(net, example, ratio, importance, kept)
    check_removed("torch-pruning", before, _channels(net, kept), ratio)
    check("torch-pruning", model, net, left, example)
    return net


def _prune(
    net: nn.Module, example: Tensor, ratio: float, importance: Callable[[Any], Tensor], kept: set[nn.Module]
) -> Kept:
    with torch.enable_grad():
        # A tuple of arguments: a bare tensor is unpacked first, an image an argument.
        graph = tp.DependencyGraph().build_dependency(net, example_inputs=(example,))
    with _bounded(net, len(graph.module2node)):
        return _cut(net, example, ratio, importance, kept, graph)


@contextlib.contextmanager
def _bounded(net: nn.Module, nodes: int) -> Iterator[None]:
    """torch-pruning follows channels that are regrouped twice without end; what grows so is refused."""
    widest = max((max(p.shape[:2]) for p in net.parameters() if p.dim()), default=1)

    class Bounded(Group):  # type: ignore[misc]
        def add_dep(self, dep: Any, idxs: Any) -> None:
            if len(self) > MAX_GROUP_LAYERS * nodes or len(idxs) > MAX_CHANNEL_REPEATS * widest:
                raise TrialError(
                    "torch-pruning cannot prune this network: which channels go together never ends"
                )
            super().add_dep(dep, idxs)

    with mock.patch.object(dependency, "Group", Bounded):
        yield


def _cut(
    net: nn.Module, example: Tensor, ratio: float, importance: Callable[[Any], Tensor], kept: set[nn.Module],
    graph: Any,
) -> Kept:  # fmt: skip
    groups = graph.get_all_groups(ignored_layers=list(kept), root_module_types=[nn.Conv2d])
    chosen = [(group[0], _least(group, ratio, importance)) for group in groups if _prunable(group)]
    labels = Labels(net, "torch-pruning")
    for root, channels in chosen:
        if channels:
            graph.get_pruning_group(root.dep.layer, root.dep.pruning_fn, channels).prune()
    left = labels.taken(net)
    with torch.no_grad():
        net(example)
    return left


def _channels(net: nn.Module, kept: set[nn.Module]) -> int:
    return sum(m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d) and m not in kept)


def _depthwise(layer: nn.Conv2d) -> bool:
    return layer.groups == layer.in_channels == layer.out_channels


def _writes(item: Any) -> bool:
    """Whether the channels of this member of a group are its layer's outputs."""
    return item.dep.pruning_fn == prune_conv_out_channels or _depthwise(item.dep.layer)


def _prunable(group: Any) -> bool:
    """Whether taking channels out of the group leaves a network that computes."""
    convolutions = (item for item in group if isinstance(item.dep.layer, nn.Conv2d))
    norms = (item for item in group if isinstance(item.dep.layer, nn.GroupNorm))
    # Of a concatenation that is normed in groups each part would lose its share of other groups.
    whole = all(len(item.idxs) == item.dep.layer.num_channels for item in norms)
    return whole and all(map(_flexible, convolutions))


def _flexible(item: Any) -> bool:
    layer: nn.Conv2d = item.dep.layer
    if layer.groups == layer.out_channels != layer.in_channels and layer.groups > 1:
        return False
    if _writes(item):
        return len(item.idxs) == layer.out_channels
    return layer.groups == 1 or len(item.idxs) == layer.in_channels


def _least(group: Any, ratio: float, importance: Callable[[Any], Tensor]) -> list[int]:
    """The channels to remove: the same positions in each block that grouped convolutions or norms make."""
    blocks = math.lcm(*(_blocks(item.dep) for item in group))
    scores = importance(group).view(blocks, -1).mean(0)
    count = min(round(len(scores) * ratio), len(scores) - 1)
    positions = scores.argsort(stable=True)[:count]
    return sorted(int(p) + block * len(scores) for block in range(blocks) for p in positions)


def _blocks(dep: Any) -> int:
    if isinstance(dep.layer, nn.GroupNorm):
        return int(dep.layer.num_groups)
    grouped = isinstance(dep.layer, nn.Conv2d) and not _depthwise(dep.layer)
    if grouped and dep.pruning_fn in (prune_conv_in_channels, prune_conv_out_channels):
        return int(dep.layer.groups)
    return 1
