"""Structured pruning by torch-pruning's dependency graph (Fang et al. 2023)."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch_pruning.dependency import graph as dependency
from torch_pruning.dependency.group import Group
from torch_pruning.pruner.function import prune_conv_in_channels, prune_conv_out_channels

from searcher.compression.engines import ranked
from searcher.compression.engines.amount import Amount, check_removed
from searcher.compression.engines.channel_pruning import Pruned, kept_modules
from searcher.compression.engines.labels import Kept, Labels
from searcher.compression.engines.masked import check
from searcher.compression.engines.refusals import refused
from searcher.errors import TrialError, unknown

Importance = Callable[[Any], Tensor]
"""Of a torch-pruning's group of coupled layers one score for each channel of its root."""


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


def _given(net: nn.Module, scores: Mapping[str, Tensor]) -> Importance:
    """An importance from given scores: of coupled channels the sum."""
    by_layer = {module: scores[name] for name, module in net.named_modules() if name in scores}

    def importance(group: Any) -> Tensor:
        total = torch.zeros(len(group[0].idxs))
        for item in group:
            if isinstance(item.dep.layer, nn.Conv2d) and _writes(item):
                total[torch.tensor(item.root_idxs)] += by_layer[item.dep.layer][item.idxs]
        return total

    return importance


_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def _batch_norm_scale(group: Any) -> Tensor:
    """The magnitude of the batch norms' scales (Liu et al. 2017); 1 for all where no batch norm follows."""
    scales: Tensor | None = tp.importance.BNScaleImportance()(group)
    return torch.ones(len(group[0].idxs)) if scales is None else scales.detach()


CRITERIA: dict[str, Importance] = {
    "l1": tp.importance.GroupMagnitudeImportance(p=1),
    "l2": tp.importance.GroupMagnitudeImportance(p=2),
    "fpgm": geometric_median,
    "bn_scale": _batch_norm_scale,
}


MAX_CHANNEL_REPEATS, MAX_GROUP_LAYERS = 20, 200
"""Limits: how often the widest layer's channels may be in one layer, and the layers of a network in a group.

With an end to it there was at most one of the former and, with attention, 40 of the latter.
"""


def prune_channels(
    model: nn.Module,
    example: Tensor,
    amount: Amount,
    criterion: str,
    keep: Sequence[str] = (),
    scores: Mapping[str, Tensor] | None = None,
) -> Pruned:
    """Remove the least important output channels of every convolution; the tensors get smaller.

    Coupled layers lose the same channels; a grouped convolution or norm loses as many in each group, and at
    least one stays. Left whole are convolutions whose consumers fix their channels: zero-padded shortcuts,
    and group convolutions or norms over a concatenation. What comes out is held against the network before
    (`searcher.compression.engines.masked`).

    Args:
        model: The network; it is copied and stays as it is.
        example: An input, (N, C, H, W); only its shape matters.
        amount: Share of the channels to remove.
        criterion: A key of `CRITERIA`.
        keep: Dotted names of modules whose output channels stay, with all that is inside them.
        scores: Instead of a criterion of the weights, the importance of every convolution's channels.

    Returns:
        A smaller copy in eval mode, of the same module types, all its parameters trainable; and what is left.

    Raises:
        SearcherError: No such criterion, or no module of a name in ``keep``.
        TrialError: Less than a quarter of what is asked could be removed, torch-pruning cannot prune this
            network, or what it makes does not compute what the network did with those channels at zero.
    """
    if criterion not in CRITERIA and scores is None:
        raise unknown("criterion", criterion, CRITERIA)
    if criterion == "bn_scale" and not any(isinstance(m, _BATCH_NORM) for m in model.modules()):
        raise TrialError("torch-pruning: the network has no batch norm by whose scale its channels could go")
    net = copy.deepcopy(model).eval().requires_grad_(True)
    kept = kept_modules(net, keep)
    before = _channels(net, kept)
    amount = replace(amount, had={name: amount.had.get(name, size) for name, size in before.items()})
    with refused("torch-pruning", "prune"):
        importance = CRITERIA[criterion] if scores is None else _given(net, scores)
        left = _prune(net, example, amount, importance, set(kept.values()))
    if amount.part == 1:
        check_removed("torch-pruning", amount.had, _channels(net, kept), amount)
    check("torch-pruning", model, net, left, example)
    return Pruned(net, left)


def _prune(
    net: nn.Module, example: Tensor, amount: Amount, importance: Importance, kept: set[nn.Module]
) -> Kept:
    with torch.enable_grad():
        # A tuple of arguments: a bare tensor is unpacked first, an image an argument.
        graph = tp.DependencyGraph().build_dependency(net, example_inputs=(example,))
    with _bounded(net, len(graph.module2node)):
        return _cut(net, example, amount, importance, kept, graph)


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
    net: nn.Module, example: Tensor, amount: Amount, importance: Importance, kept: set[nn.Module], graph: Any
) -> Kept:
    names = {module: name for name, module in net.named_modules()}
    groups = graph.get_all_groups(ignored_layers=list(kept), root_module_types=[nn.Conv2d])
    groups = [group for group in groups if _prunable(group)]
    layers = [_ranked(group, importance, names) for group in groups]
    stays = zip(groups, layers, ranked.left(layers, amount), strict=True)
    chosen = [(group[0], layer.least(count)) for group, layer, count in stays]
    labels = Labels(net, "torch-pruning")
    for root, channels in chosen:
        if channels:
            graph.get_pruning_group(root.dep.layer, root.dep.pruning_fn, channels).prune()
    left = labels.taken(net)
    with torch.no_grad():
        net(example)
    return left


def _channels(net: nn.Module, kept: Mapping[str, nn.Module]) -> dict[str, int]:
    convolutions = ((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and n not in kept)
    return {name: module.out_channels for name, module in convolutions}


def _depthwise(layer: nn.Conv2d) -> bool:
    return 1 < layer.groups == layer.in_channels == layer.out_channels


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


def _ranked(group: Any, importance: Importance, names: Mapping[nn.Module, str]) -> ranked.Ranked:
    """The group's convolutions; a depthwise one loses what that before it does."""
    blocks = math.lcm(*(_blocks(item.dep) for item in group))
    layers = [i.dep.layer for i in group if isinstance(i.dep.layer, nn.Conv2d) and _writes(i)]
    makers = [layer for layer in layers if not _depthwise(layer)]
    scores = importance(group).view(blocks, -1).mean(0)
    return ranked.Ranked(tuple(dict.fromkeys(names[m] for m in makers)), blocks, scores)


def _blocks(dep: Any) -> int:
    if isinstance(dep.layer, nn.GroupNorm):
        return int(dep.layer.num_groups)
    grouped = isinstance(dep.layer, nn.Conv2d) and not _depthwise(dep.layer)
    if grouped and dep.pruning_fn in (prune_conv_in_channels, prune_conv_out_channels):
        return int(dep.layer.groups)
    return 1
