"""Codes of less than 8 bits in FX graphs: the ranges of observers, and what holds activations in them.

Integer kernels execute them as int8 codes of a smaller range. Weights are in it by their observer. Kernels
hold activations in 8 bits alone, so each is clamped to the largest code of its width.
"""

import operator
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from searcher.compression.engines import fx_observers
from searcher.compression.engines.fidelity import saturates
from searcher.compression.engines.fx_observers import ActivationObserver
from searcher.config.stages.int8 import Int8
from searcher.costs.counting.scope import SATURATED, without_wrappers

_SHARES = (operator.getitem, torch.chunk, torch.split, "chunk", "split")
"""What takes a share of an activation: it is in codes as wide as the whole."""

_RELUS = (F.relu, F.relu_, torch.relu, "relu", "relu_")
_QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"


def narrow_codes(graph: fx.GraphModule, asked: Int8, largest: int) -> None:
    """Give every observer of a prepared graph the codes asked for, in place, before it is calibrated.

    Args:
        graph: An observed graph.
        asked: The widths by module.
        largest: The largest code of an 8-bit weight.
    """
    named = dict(graph.named_modules(remove_duplicate=False))
    for path, module in named.items():
        if getattr(module, "qconfig", None) is not None:
            code = largest_code(asked, without_wrappers(path), largest)
            weight = fx_observers.weights(asked.weights_per, code)
            module.qconfig = module.qconfig._replace(weight=weight)
    for node in graph.graph.nodes:
        observer = _observer(node, named)
        if observer is not None and not isinstance(observer, ActivationObserver):
            (reader,) = node.users
            code = largest_code(asked, _path(reader, named), largest)
            graph.set_submodule(str(node.target), fx_observers.weights(asked.weights_per, code)())
    for activation, bits in _activations(graph, asked, named).items():
        activation.narrow(bits)


def largest_code(asked: Int8, path: str, largest: int) -> int:
    """The largest code of a layer's weights, where that of 8 bits is given."""
    return min(largest, int(2 ** (asked.widths(path).weights - 1)) - 1)


def _activations(graph: fx.GraphModule, asked: Int8, named: Mapping[str, nn.Module]) -> dict[Any, int]:
    """The width of every observer of activations: the widest of what it observes."""
    found: defaultdict[Any, int] = defaultdict(int)
    for node in graph.graph.nodes:
        observer = _observer(node, named)
        if isinstance(observer, ActivationObserver):
            found[observer] = max(found[observer], _width(node, asked, named))
    return dict(found)


def _width(observing: fx.Node, asked: Int8, named: Mapping[str, nn.Module]) -> int:
    if any(user.op == "output" for user in observing.users):
        return 8
    node = observing.all_input_nodes[0]
    while _is_relu(node, named) or node.target in _SHARES:
        node = _before(node, named)
    return 8 if node.op == "placeholder" else asked.widths(_path(node, named)).activations


def _is_relu(node: fx.Node, named: Mapping[str, nn.Module]) -> bool:
    return node.target in _RELUS or isinstance(named.get(str(node.target)), nn.ReLU)


def _before(node: fx.Node, named: Mapping[str, nn.Module]) -> fx.Node:
    """What has made the input of a node, behind its observer."""
    (node, *_) = node.all_input_nodes
    return node.all_input_nodes[0] if _observer(node, named) is not None else node


def _observer(node: fx.Node, named: Mapping[str, nn.Module]) -> Any:
    module = named.get(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, torch.ao.quantization.ObserverBase) else None


def _path(node: fx.Node, named: Mapping[str, nn.Module]) -> str:
    """The path of the module that a node runs, or that it is in."""
    if node.op == "call_module":
        return without_wrappers(str(node.target))
    return without_wrappers(next(reversed(node.meta.get("nn_module_stack") or {}), ""))


def saturate(converted: fx.GraphModule, prepared: fx.GraphModule, images: Tensor) -> None:
    """Clamp the activations of an int8 graph whose codes have less than 8 bits, in place.

    Args:
        converted: The int8 graph.
        prepared: The observed graph that it was converted from.
        images: Calibration images.
    """
    largest = _largest_values(prepared)
    if largest:
        with torch.no_grad():
            _Saturating(converted, largest).run(images)
        converted.recompile()


def _largest_values(prepared: fx.GraphModule) -> dict[tuple[float, int], float]:
    """The value of the largest code of each scale and zero point whose codes have less than 8 bits.

    The nodes of an int8 graph have other names than those that were observed, but their scales.
    """
    found = {}
    observers: list[Any] = [m for m in prepared.modules() if isinstance(m, ActivationObserver)]
    for observer in observers:
        if observer.quant_max < 255:
            scale, zero_point = observer.calculate_qparams()
            found[float(scale), int(zero_point)] = float(scale) * (observer.quant_max - int(zero_point))
    return found


class _Saturating(fx.Interpreter):
    """Runs an int8 graph, and clamps what is quantized right behind what writes it, before that is read."""

    def __init__(self, converted: fx.GraphModule, largest: Mapping[tuple[float, int], float]) -> None:
        super().__init__(converted)
        self.largest = largest

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_quantized and not saturates(n):
            largest = self.largest.get((value.q_scale(), value.q_zero_point()))
            if largest is not None:
                self._clamp(n, largest)
        return value

    def _clamp(self, node: fx.Node, largest: float) -> None:
        with node.graph.inserting_after(node):
            clamped = node.graph.call_function(torch.clamp, (node,), {"max": largest})
        node.replace_all_uses_with(clamped, delete_user_cb=lambda user: user is not clamped)
        scope = next(reversed(node.meta.get("nn_module_stack") or {}), "")
        clamped.meta = {"nn_module_stack": {f"{scope}.{SATURATED}".lstrip("."): (scope, nn.Module)}}


def clamp_decomposed(graph: fx.GraphModule) -> None:
    """Clamp what a reference quantizes to less than 8 bits: an exported operator knows no narrower range."""
    for node in list(graph.graph.nodes):
        if str(node.target) == _QUANTIZE and node.args[4] < 255:
            source, scale, zero_point, least, largest = node.args[:5]
            with graph.graph.inserting_before(node):
                ends = [(code - zero_point) * scale for code in (least, largest)]
                clamped = graph.graph.call_function(torch.clamp, (source, *ends))
            node.replace_input_with(source, clamped)
    graph.recompile()
