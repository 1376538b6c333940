"""A prepared graph in which quantization is trained: fake-quantized with learned steps, and read back."""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn.intrinsic.modules.fused import _FusedModule
from torch.nn.utils import parametrize

from searcher.compression.engines import kernels
from searcher.compression.engines.fx_codes import largest_code
from searcher.compression.engines.fx_observers import ActivationObserver
from searcher.compression.engines.fx_reference import Prepared
from searcher.compression.engines.lsq import GivenSteps, LearnedActivation, LearnedWeight
from searcher.costs.counting.scope import without_wrappers
from searcher.errors import TrialError

_WEIGHTS, _ACTIVATIONS = "steps of weights:", "steps of activations:"
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def trainable(prepared: Prepared) -> fx.GraphModule:
    """A copy of a calibrated graph that computes what will be executed, with steps to be learned.

    Weights that layers take as functions are quantized, with the steps of their observers.
    """
    graph = copy.deepcopy(prepared.graph)
    largest = kernels.use().largest_weight
    learned: dict[Tensor, LearnedWeight] = {}
    for path, layer in _layers(graph).items():
        weight = layer.weight
        if weight not in learned:
            code = largest_code(prepared.asked, path, largest)
            learned[weight] = LearnedWeight(weight, code, prepared.asked.weights_per)
        parametrize.register_parametrization(layer, "weight", learned[weight])
    _learn(graph, {})
    return graph


def steps(graph: fx.GraphModule) -> dict[str, Tensor]:
    """The steps that a trainable graph has learned, by the layer and by the observer."""
    found = {
        f"{_WEIGHTS}{path}": layer.parametrizations.weight[0].step.detach().clone()
        for path, layer in _layers(graph).items()
    }
    for name, observer in _observers(graph).items():
        scale, zero_point = observer.calculate_qparams()
        found[f"{_ACTIVATIONS}{name}"] = torch.cat([scale.double(), zero_point.double()])
    return found


def with_steps(prepared: Prepared, learned: Mapping[str, Tensor]) -> Prepared:
    """A calibrated graph with learned steps instead of its observers' scales."""
    graph = copy.deepcopy(prepared.graph)
    largest = kernels.use().largest_weight
    for path, layer in _layers(graph).items():
        given = learned[f"{_WEIGHTS}{path}"].expand(len(layer.weight)).contiguous()
        code = largest_code(prepared.asked, path, largest)
        holder = _holders(graph)[path]
        # What computes the codes stops at those of 8 bits.
        most = (given.abs() * code).view(-1, *[1] * (layer.weight.dim() - 1))
        layer.weight.data = torch.minimum(torch.maximum(layer.weight.detach(), -most), most)
        holder.qconfig = holder.qconfig._replace(weight=partial(GivenSteps, given, code))
    _learn(graph, learned)
    return Prepared(graph, prepared.images, prepared.exclude, prepared.asked)


def _learn(graph: fx.GraphModule, learned: Mapping[str, Tensor]) -> None:
    """Replace observers of activations, in place: their scales are learned, or to be; shared ones stay so."""
    made: dict[Any, LearnedActivation] = {}
    for name, observer in _observers(graph).items():
        if observer not in made:
            known = learned.get(f"{_ACTIVATIONS}{name}")
            found = observer.calculate_qparams() if known is None else known
            scale, zero_point = (float(one) for one in found)
            codes = observer.quant_min, observer.quant_max
            made[observer] = LearnedActivation(scale, int(zero_point), *codes)
        graph.set_submodule(name, made[observer])


@torch.no_grad()
def write_back(graph: fx.GraphModule, model: nn.Module, folded: Mapping[str, str]) -> None:
    """Give a network the weights that a trainable graph has learned, in place.

    Args:
        graph: Trained; on the CPU.
        model: The network that it was prepared from, with folded norms.
        folded: The path of each norm, by that of the layer that it is folded into.

    Raises:
        TrialError: The network makes a layer's weight of others, or has no place for its bias.
    """
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    tensors |= dict(model.named_buffers(remove_duplicate=False))
    layers = _layers(graph)
    for path, layer in layers.items():
        if f"{path}.weight" not in tensors:
            raise TrialError(f"quantize aware: {path} makes its weight of other parameters")
        tensors[f"{path}.weight"].copy_(layer.parametrizations.weight.original)
        if layer.bias is not None:
            bias = f"{folded.get(path, path)}.bias"
            if bias not in tensors:
                raise TrialError(f"quantize aware: {path} has a bias that its network has no place for")
            tensors[bias].copy_(layer.bias)
    inside = tuple(f"{path}." for path in layers)
    for name, tensor in graph.state_dict().items():
        plain = without_wrappers(name)
        holder, _, part = plain.rpartition(".")
        # A norm that is joined with what follows it is the first of the two.
        own = plain if plain in tensors else f"{holder.removesuffix('.0')}.{part}"
        if own in tensors and not own.startswith(inside):
            tensors[own].copy_(tensor)


def _layers(graph: fx.GraphModule) -> dict[str, Any]:
    """The layers that will run in integers, by their paths."""
    return {
        path: holder.get_submodule("0") if isinstance(holder, _FusedModule) else holder
        for path, holder in _holders(graph).items()
    }


def _holders(graph: fx.GraphModule) -> dict[str, Any]:
    """The layers with what is joined with them, by the paths that the layers had before."""
    found: dict[str, Any] = {}
    for node in graph.graph.nodes:
        module: Any = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        layer = module.get_submodule("0") if isinstance(module, _FusedModule) else module
        if isinstance(layer, _LAYERS) and getattr(module, "qconfig", None) is not None:
            found[without_wrappers(str(node.target))] = module
    return found


def _observers(graph: fx.GraphModule) -> dict[str, Any]:
    """The observers of activations, by all of their names."""
    named = graph.named_modules(remove_duplicate=False)
    return {name: m for name, m in named if isinstance(m, ActivationObserver)}
