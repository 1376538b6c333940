"""Bias correction (Nagel et al. 2019): the mean error of each int8 layer, taken out of its bias."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.ao.nn.intrinsic.modules.fused import _FusedModule

from searcher.compression.engines.fx_reference import Prepared, decomposed, int8_layers
from searcher.compression.engines.kernels import quiet

Change = Callable[[str, Any, Tensor], Tensor]
"""From a layer's path, the layer and what it writes to what is read of it."""


def corrected(prepared: Prepared, images: Tensor) -> Prepared:
    """A calibrated graph whose int8 layers write, on some images, what those in floating point do on average.

    Layer after layer, each reading what those before it write once they are corrected. A layer without a bias
    is left alone.

    Args:
        prepared: The calibrated graph; it is not changed.
        images: Calibration images (N, C, H, W).
    """
    model = decomposed(prepared)
    steps = {layer: scale * layer.weight_scale for layer, scale in int8_layers(model)}
    taken = _Taken(means(copy.deepcopy(prepared.graph), images), steps)
    with quiet(), torch.no_grad():
        _Layers(model, taken).run(images)
    graph = copy.deepcopy(prepared.graph)
    for path, bias in taken.biases.items():
        graph.get_parameter(f"{path}.bias").data = bias
    return Prepared(graph, prepared.images, prepared.exclude, prepared.asked)


def means(graph: fx.GraphModule, images: Tensor) -> dict[str, Tensor]:
    """The mean of what each layer with a bias writes, a channel, by its path in the graph."""
    found: dict[str, Tensor] = {}

    def seen(path: str, layer: Any, output: Tensor) -> Tensor:
        found[path] = _mean(output)
        return output

    with quiet(), torch.no_grad():
        _Layers(graph, seen).run(images)
    return found


def _mean(output: Tensor) -> Tensor:
    channels = output.movedim(1, 0) if output.dim() == 4 else output.movedim(-1, 0)
    return channels.flatten(1).double().mean(1).to(output.dtype)


class _Taken:
    """Takes the difference from known means out of each layer's output, in steps of its bias.

    Attributes:
        biases: What is left of each bias, by the layer's path in the graph.
    """

    def __init__(self, wanted: dict[str, Tensor], steps: dict[Any, Tensor]) -> None:
        self.wanted, self.steps = wanted, steps
        self.biases: dict[str, Tensor] = {}

    def __call__(self, path: str, layer: Any, output: Tensor) -> Tensor:
        if layer not in self.steps:
            return output
        step = self.steps[layer]
        error = ((_mean(output) - self.wanted[path]) / step).round() * step
        self.biases[path] = layer.bias.detach() - error
        return output - error.view((1, -1, 1, 1) if output.dim() == 4 else (-1,))


class _Layers(fx.Interpreter):
    """Runs a graph; what a layer with a bias writes goes through a function before it is read."""

    def __init__(self, graph: fx.GraphModule, change: Change) -> None:
        super().__init__(graph)
        self.change = change

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """The output of a module."""
        module: Any = self.fetch_attr(target)
        joined = isinstance(module, _FusedModule)
        first, *rest = module.children() if joined else [module]
        if not isinstance(first, torch.nn.Conv2d | torch.nn.Linear) or first.bias is None:
            return super().call_module(target, args, kwargs)
        output = self.change(f"{target}.0" if joined else str(target), first, first(*args, **kwargs))
        for module in rest:
            output = module(output)
        return output
