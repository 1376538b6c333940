"""Structured and unstructured pruning by NNI 3.0."""

import contextlib
import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F

from searcher.compression.engines.amount import Amount, check_removed
from searcher.compression.engines.channel_pruning import Pruned, kept_modules
from searcher.compression.engines.labels import Kept, Labels
from searcher.compression.engines.masked import check
from searcher.compression.engines.refusals import refused
from searcher.errors import unknown

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"`torch\.utils\._pytree\._register_pytree_node` is deprecated")
    warnings.filterwarnings("ignore", r".*is already registered as pytree node")
    import nni
    from nni.compression.pruning import FPGMPruner, L1NormPruner, L2NormPruner, LevelPruner
    from nni.compression.speedup import ModelSpeedup, auto_set_denpendency_group_ids
    from nni.compression.speedup.dependency import build_channel_dependency
    from nni.compression.speedup.replacer import Replacer

nni.silence_stdout()
logging.getLogger("nni").setLevel(logging.ERROR)

CRITERIA = {"l1": L1NormPruner, "l2": L2NormPruner, "fpgm": FPGMPruner}


def prune_channels(
    model: nn.Module,
    example: Tensor,
    amount: Amount,
    criterion: str,
    keep: Sequence[str] = (),
    scores: Mapping[str, Tensor] | None = None,
) -> Pruned:
    """Structured pruning by the contract of `searcher.compression.engines.torch_pruning.prune_channels`.

    Raises:
        SearcherError: No such criterion, or no module of a name in ``keep``.
        TrialError: Less than a quarter of what is asked could be removed, NNI cannot prune this network, or
            what it makes does not compute what the network did with those channels at zero.
    """
    if criterion not in CRITERIA and scores is None:
        raise unknown("criterion", criterion, CRITERIA)
    net = copy.deepcopy(model).eval().requires_grad_(True)
    kept = set(kept_modules(net, keep))
    before = _channels(net, kept)
    amount = replace(amount, had={name: amount.had.get(name, size) for name, size in before.items()})
    left: Kept = {}
    with refused("NNI", "prune"), _quiet():
        config = _config(net, example, amount, kept)
        if config:
            judged = net if scores is None else _with_scores(net, scores)
            pruner = CRITERIA[criterion if scores is None else "l1"](judged, config)
            masks = pruner.compress()[1]
            pruner.unwrap_model()
            net, left = _shrink(net, example, masks)
    if amount.part == 1:
        check_removed("NNI", amount.had, _channels(net, kept), amount)
    check("NNI", model, net, left, example)
    return Pruned(net, left)


def level_masks(net: nn.Module, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The masks of an entry of NNI's configuration, by parameter name; the network's weights are not kept."""
    with refused("NNI", "prune the weights of"):
        masks = LevelPruner(net, [dict(config)]).compress()[1]
    return {f"{name}.weight": masks[name]["weight"].detach().clone() for name in config["op_names"]}


@torch.no_grad()
def _with_scores(net: nn.Module, scores: Mapping[str, Tensor]) -> nn.Module:
    """A copy in which the L1 norm of every filter is its channel's score."""
    judged = copy.deepcopy(net)
    for name, conv in _convs(judged).items():
        each = scores[name] / conv.weight[0].numel()
        conv.weight.copy_(each.view(-1, 1, 1, 1).expand_as(conv.weight))
    return judged


def _convs(net: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: m for name, m in net.named_modules() if isinstance(m, nn.Conv2d)}


def _channels(net: nn.Module, kept: set[str]) -> dict[str, int]:
    return {name: m.out_channels for name, m in _convs(net).items() if name not in kept}


def _config(net: nn.Module, example: Tensor, amount: Amount, kept: set[str]) -> list[dict[str, Any]]:
    """NNI's configuration, one entry a convolution, with a ratio that removes whole channels."""
    graph = fx.symbolic_trace(net)
    ShapeProp(graph).propagate(example)
    ties = build_channel_dependency(graph)
    fixed = _closure(kept | _fixed(graph), [{str(node.target) for node in tie} for tie in ties])
    called = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
    convs = {name: conv for name, conv in _convs(net).items() if name in called - fixed}
    if not convs:
        return []
    # The ratio itself is not asked for here: NNI wants one to form its groups.
    asked = [{"op_names": list(convs), "sparse_ratio": 0.5}]
    entries: list[dict[str, Any]] = auto_set_denpendency_group_ids(graph, asked)
    for entry in entries:
        # Without a group of its own NNI ignores the blocks of an entry.
        entry.setdefault("dependency_group_id", entry["op_names"][0])
    blocks, makers = _blocks(entries), _makers(entries, convs)
    for entry in entries:
        size, group = convs[entry["op_names"][0]].out_channels, entry["dependency_group_id"]
        removed = (size - amount.left(makers[group], size, blocks[group])) // blocks[group]
        # NNI rounds down: half a channel more than the whole number asked for.
        entry["sparse_ratio"] = (removed + 0.5) / (size // blocks[group])
    return entries


def _makers(entries: list[dict[str, Any]], convs: Mapping[str, nn.Conv2d]) -> dict[str, list[str]]:
    """By dependency group, its convolutions; a depthwise one loses what that before it does."""
    makers: dict[str, list[str]] = {}
    for entry in entries:
        found = makers.setdefault(entry["dependency_group_id"], [])
        found += [n for n in entry["op_names"] if not 1 < convs[n].groups == convs[n].out_channels]
    return makers


def _blocks(entries: list[dict[str, Any]]) -> dict[str, int]:
    """By dependency group, the blocks that must lose as many channels each."""
    blocks: dict[str, int] = {}
    for entry in entries:
        group = entry["dependency_group_id"]
        blocks[group] = math.lcm(blocks.get(group, 1), entry.get("internal_metric_block", 1))
    return blocks


def _closure(names: set[str], ties: list[set[str]]) -> set[str]:
    """The names and all that is tied to one of them."""
    return names.union(*(tie for tie in ties if tie & names))


def _fixed(graph: fx.GraphModule) -> set[str]:
    """Convolutions whose channels a consumer fixes: a padded shortcut or a group convolution over several."""
    fixed: set[str] = set()
    for node in graph.graph.nodes:
        layer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if node.target is F.pad and _pads_channels(node):
            fixed |= _sources(node, graph) | {s for user in node.users for s in _sources(user, graph)}
        elif isinstance(layer, nn.Conv2d) and layer.groups > 1:
            sources = _sources(node, graph)
            if layer.groups == layer.out_channels != layer.in_channels:
                fixed |= sources | {str(node.target)}
            elif len(sources) > 1:
                fixed |= sources
    return fixed


def _pads_channels(node: fx.Node) -> bool:
    """Whether more than height and width of an image is padded, or what is computed while it runs."""
    pads = node.args[1] if len(node.args) > 1 else node.kwargs["pad"]
    return not isinstance(pads, list | tuple) or any(isinstance(p, fx.Node) or p != 0 for p in pads[4:])


def _sources(node: fx.Node, graph: fx.GraphModule) -> set[str]:
    """The nearest convolutions before a node."""
    found, seen, stack = set(), {node}, list(node.all_input_nodes)
    while stack:
        before = stack.pop()
        if before.op == "call_module" and isinstance(graph.get_submodule(str(before.target)), nn.Conv2d):
            found.add(str(before.target))
        elif before not in seen:
            stack.extend(before.all_input_nodes)
        seen.add(before)
    return found


class _Labelled(Replacer):  # type: ignore[misc]
    """Labels the tensors when NNI knows what it will remove, and before it does."""

    labels: Labels

    def replace_modules(self, speedup: ModelSpeedup) -> None:
        """Called ahead of the replacer that removes."""
        self.labels = Labels(speedup.bound_model, "NNI")


def _shrink(net: nn.Module, example: Tensor, masks: dict[str, Any]) -> tuple[nn.Module, Kept]:
    labelled = _Labelled()
    with _contained():
        speedup = ModelSpeedup(
            net,
            example,
            masks,
            customized_replacers=[labelled],
            graph_module=fx.symbolic_trace(net),
            logger=logging.Logger("nni", logging.ERROR),
        )
        shrunk: nn.Module = speedup.speedup_model().eval()
        left = labelled.labels.taken(shrunk)
        shrunk(example)
    return shrunk, left


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """NNI prints what it does and what it does not support, and torch.fx its tracebacks."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """NNI draws from the global generator and needs gradients: neither is seen outside."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        yield
