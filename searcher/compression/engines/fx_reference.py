"""The reference of an int8 network: the same scales and codes, computed in floating point."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn.intrinsic.modules.fused import _FusedModule
from torch.ao.quantization.quantize_fx import _convert_to_reference_decomposed_fx

from searcher.compression.engines.exclusions import KeptOut
from searcher.compression.engines.fx_codes import clamp_decomposed
from searcher.compression.engines.kernels import quiet
from searcher.config.stages.int8 import Int8
from searcher.costs.counting.scope import without_wrappers

LARGEST_BIAS = 2**30
"""Of an int8 layer, in units of its input's scale times its weights': half of what 32 bits hold."""


@dataclass(frozen=True)
class Prepared:
    """A calibrated network: what its int8 forms are converted from.

    Attributes:
        graph: The observed `torch.fx.GraphModule`, on the CPU; converting it leaves it as it is.
        images: Some of the calibration images (N, C, H, W).
        exclude: The width kept by a module, by its path.
        asked: Observers and widths of codes.
    """

    graph: fx.GraphModule
    images: Tensor
    exclude: Mapping[str, int]
    asked: Int8

    @property
    def example(self) -> Tensor:
        """One calibration image (1, C, H, W)."""
        return self.images[:1]


@dataclass(frozen=True)
class Reference:
    """An int8 network in floating point, with quantize and dequantize operators where it is executed in int8.

    Attributes:
        model: The network; modules kept out run in float32.
        paths: The path that a module had before conversion, by the path under which its parameters are now.
        halves: Modules, by the paths before, whose float32 parameters are bfloat16 numbers.
    """

    model: nn.Module
    paths: Mapping[str, str]
    halves: frozenset[str]


def decomposed(prepared: Prepared) -> fx.GraphModule:
    """The reference as a graph with quantize and dequantize nodes; modules kept out run as they do there."""
    with quiet():
        model: fx.GraphModule = _convert_to_reference_decomposed_fx(copy.deepcopy(prepared.graph))
    for layer, input_scale in int8_layers(model):
        if layer.bias is not None:
            layer.bias.data = rounded_bias(layer.bias, input_scale, layer.weight_scale)
    return model


def reference(prepared: Prepared) -> Reference:
    """The network that `fx.convert` executes, with its scales and zero points, to export.

    Only a channel whose bias would overflow 32 bits, in units of its input's scale times its weights', has a
    larger scale for its weights: as small as they are beside the bias, that makes no difference.
    """
    model = decomposed(prepared)
    clamp_decomposed(model)
    with quiet():
        for layer, input_scale in int8_layers(model):
            _make_room_for_bias(layer, input_scale)
            _round_weight(layer)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    fused = [f"{name}." for name, module in model.named_modules() if isinstance(module, _FusedModule)]
    paths = {name: _original(name, fused) for name, _ in model.named_modules()}
    halves: set[str] = set()
    for name, module in model.named_modules():
        if isinstance(module, KeptOut):
            inside = {paths[f"{name}.{inner}"] for inner, _ in module.named_modules() if inner}
            halves |= inside if module.dtype == torch.bfloat16 else set()
            module.compute_in_float32()
    return Reference(model, paths, frozenset(halves))


def int8_layers(model: fx.GraphModule) -> Iterator[tuple[Any, float]]:
    """The layers of a reference network that are to run in int8, and the scales of their inputs."""
    for node in model.graph.nodes:
        called: Any = model.get_submodule(node.target) if node.op == "call_module" else None
        layer = called.get_submodule("0") if isinstance(called, _FusedModule) else called
        if getattr(layer, "weight_scale", None) is not None:
            yield layer, node.args[0].args[1]


def rounded_bias(bias: Tensor, input_scale: float, weight_scales: Tensor) -> Tensor:
    """A bias (channels,) in steps of its input's scale times its weights', as an ONNX file stores it."""
    step = input_scale * weight_scales.double()
    return ((bias.detach().double() / step).round() * step).float()


def _make_room_for_bias(layer: Any, input_scale: float) -> None:
    if layer.bias is not None:
        layer.weight_scale.clamp_(min=layer.bias.detach().abs() / (input_scale * LARGEST_BIAS))


def _round_weight(layer: Any) -> None:
    """To multiples of its scale, rounded as `convert` does: whoever computes the codes finds the same."""
    scales, zeros, axis = layer.weight_scale.double(), layer.weight_zero_point, layer.weight_axis
    codes = torch.quantize_per_channel(layer.weight.detach().float(), scales, zeros, axis, torch.qint8)
    layer.weight.data = codes.dequantize()


def _original(name: str, fused: Iterable[str]) -> str:
    """The path without wrappers; a layer fused with those after it holds its parameters one level deeper."""
    outer = next((name.partition(prefix)[1] for prefix in fused if name.startswith(prefix)), None)
    return without_wrappers(outer.removesuffix(".") if outer else name)
