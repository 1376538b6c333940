"""Rewrites of FX graphs where an int8 conversion fails, or executes something else than was calibrated."""

import copy
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from searcher.compression.engines.fx_observers import ActivationObserver
from searcher.compression.engines.fx_reference import rounded_bias
from searcher.compression.engines.fx_repeats import share_weights
from searcher.costs.counting.scope import without_wrappers
from searcher.errors import TrialError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_FUNCTIONAL = (F.conv1d, F.conv2d, F.conv3d)
_PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric)
_PRODUCTS = (operator.mul, torch.mul, "mul", "mul_")
_SAME_SCALE = (
    nn.MaxPool2d, nn.Upsample, nn.Hardtanh, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
_SAME_SCALE_FUNCTIONS = (
    F.interpolate, F.max_pool2d, F.hardtanh, F.hardtanh_, F.relu6, F.avg_pool1d, F.avg_pool2d,
    F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, torch.clamp, torch.mean, "clamp", "mean",
)  # fmt: skip
_CONV_DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def spell_out_padding(model: nn.Module) -> None:
    """Replace padding of convolutions by name with numbers, in place: int8 layers take nothing else.

    Where ``"same"`` is one more behind than before, the kernel gets a first row or column of zeros. With a
    dilation that would not do: such a convolution is left as it is.
    """
    for module in model.modules():
        if isinstance(module, _CONVOLUTIONS) and module.padding == "same":
            _spell_out(module)
        elif isinstance(module, _CONVOLUTIONS) and module.padding == "valid":
            module.padding = (0,) * len(module.kernel_size)


def _spell_out(conv: Any) -> None:
    sizes = zip(conv.kernel_size, conv.dilation, strict=True)
    uneven = [step * (size - 1) % 2 == 1 for size, step in sizes]
    if any(odd and step > 1 for odd, step in zip(uneven, conv.dilation, strict=True)):
        return
    front = [side for longer in reversed(uneven) for side in (int(longer), 0)]
    with torch.no_grad():
        conv.weight = nn.Parameter(F.pad(conv.weight, front))
    conv.kernel_size = tuple(conv.weight.shape[2:])
    steps = zip(conv.kernel_size, conv.dilation, strict=True)
    conv.padding = tuple(step * (size - 1) // 2 for size, step in steps)
    conv._reversed_padding_repeated_twice = [side for side in reversed(conv.padding) for _ in range(2)]


def repair_prepared(graph: fx.GraphModule) -> None:
    """Mend an observed graph in place, before it is calibrated."""
    _name_arguments(graph)
    _share_observers(graph)
    _part_scaled(graph)


def _name_arguments(graph: fx.GraphModule) -> None:
    """Give functional convolutions all their arguments: the conversion fills in no defaults."""
    for node in graph.graph.nodes:
        if node.op == "call_function" and node.target in _FUNCTIONAL:
            inputs, weight, *given = node.args
            named = _CONV_DEFAULTS | dict(zip(_CONV_DEFAULTS, given, strict=False)) | node.kwargs
            dims = _FUNCTIONAL.index(node.target) + 1
            sizes = {key: _each(named[key], dims) for key in ("stride", "padding", "dilation")}
            if sizes["padding"] == "same":
                sizes["padding"] = _same(_parameter(graph, weight), sizes["dilation"])
            elif sizes["padding"] == "valid":
                sizes["padding"] = [0] * dims
            node.args = (inputs, weight, *(named | sizes).values())
            node.kwargs = {}
    graph.recompile()


def _each(value: Any, dims: int) -> Any:
    if isinstance(value, int):
        return [value] * dims
    return value if isinstance(value, str) or len(value) == dims else [*value] * dims


def _parameter(graph: fx.GraphModule, node: fx.Node) -> Tensor:
    """The parameter that a node reads, behind its observer."""
    while node.op != "get_attr":
        node = node.all_input_nodes[0]
    owner, _, name = str(node.target).rpartition(".")
    parameter: Tensor = getattr(graph.get_submodule(owner), name)
    return parameter


def _same(weight: Tensor, dilation: Sequence[int]) -> list[int]:
    """The padding on both sides that leaves the size as it is.

    Raises:
        TrialError: There is none, of an even kernel.
    """
    both = [step * (size - 1) for size, step in zip(weight.shape[2:], dilation, strict=True)]
    if any(sides % 2 for sides in both):
        raise TrialError("quantize: a functional convolution has an even kernel and padding='same'")
    return [sides // 2 for sides in both]


def _part_scaled(graph: fx.GraphModule) -> None:
    """An observer of its own for a tensor times a number, and for what keeps its scale from there on.

    FX gives it that of the tensor before.
    """
    named = dict(graph.named_modules(remove_duplicate=False))
    parted: dict[fx.Node, tuple[Any, Any]] = {}
    for node in graph.graph.nodes:
        inputs = node.all_input_nodes
        before = parted.get(inputs[0]) if len(inputs) == 1 else None
        if _is_scaling(node) and (observer := _observer(node, named)):
            parted[node] = (observer, copy.deepcopy(observer))
        elif before and (_observes(node, named) or _observer(node, named) in (None, before[0])):
            parted[node] = before
        if node in parted and _observes(node, named) and named[str(node.target)] is parted[node][0]:
            graph.set_submodule(str(node.target), parted[node][1])


def _observer(node: fx.Node, named: Mapping[str, nn.Module]) -> Any:
    """The observer of a node, or of the activation that it is fused with; None where there is none."""
    for user in node.users:
        if _observes(user, named):
            return named[str(user.target)]
        if user.target in (F.relu, torch.relu, "relu") or isinstance(named.get(str(user.target)), nn.ReLU):
            return _observer(user, named)
    return None


def _is_scaling(node: fx.Node) -> bool:
    return node.target in _PRODUCTS and any(isinstance(operand, int | float) for operand in node.args)


def _share_observers(graph: fx.GraphModule) -> None:
    """One observer for all that meets in a concatenation, also through what keeps the scale of its input.

    torch joins int8 tensors by the scale of the first, and saturates the others. FX gives the inputs of one
    concatenation the same observer, but a tensor that two of them read keeps that of the last.
    """
    named = dict(graph.named_modules(remove_duplicate=False))
    same: dict[int, Any] = {}

    def root(observer: Any) -> Any:
        while id(observer) in same:
            observer = same[id(observer)]
        return observer

    for node in graph.graph.nodes:
        inputs = node.all_input_nodes
        if node.target is torch.cat or _keeps_scale(node, named):
            found = [n for n in (*inputs, *node.users) if _observes(n, named)]
            for other in found[1:]:
                first, second = root(named[str(found[0].target)]), root(named[str(other.target)])
                if first is not second:
                    same[id(second)] = first
    for name, module in named.items():
        if id(module) in same:
            graph.set_submodule(name, root(module))


def _keeps_scale(node: fx.Node, named: Mapping[str, nn.Module]) -> bool:
    """Whether an int8 tensor leaves in the scale in which it came."""
    if node.op == "call_module":
        return isinstance(named[str(node.target)], _SAME_SCALE)
    return node.target in _SAME_SCALE_FUNCTIONS


def _observes(node: fx.Node, named: Mapping[str, nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(named[str(node.target)], ActivationObserver)


def repair_converted(converted: fx.GraphModule, prepared: fx.GraphModule, images: Tensor) -> None:
    """Mend an int8 graph in place, while it runs on images (N, C, H, W).

    Args:
        converted: The int8 graph.
        prepared: The observed graph that it was converted from.
        images: Calibration images.
    """
    share_weights(converted)
    with torch.no_grad():
        _Repairs(converted, _joined_scales(prepared)).run(images)
    converted.recompile()


def _joined_scales(prepared: fx.GraphModule) -> dict[str, tuple[float, int]]:
    """The scale and zero point that were calibrated for each concatenation, by its node's name."""
    named = dict(prepared.named_modules(remove_duplicate=False))
    found = {}
    for node in prepared.graph.nodes:
        for user in node.users if node.target is torch.cat else ():
            if _observes(user, named):
                observer: Any = named[str(user.target)]
                scale, zero_point = observer.calculate_qparams()
                found[node.name] = float(scale), int(zero_point)
    return found


class _Repairs(fx.Interpreter):
    """Runs an int8 graph, rewriting each node that would not compute what was calibrated."""

    def __init__(self, converted: fx.GraphModule, joined: Mapping[str, tuple[float, int]]) -> None:
        super().__init__(converted)
        self.joined = joined

    def run_node(self, n: fx.Node) -> Any:
        inputs: Any = self.map_nodes_to_values(n.args, n)
        if n.target is torch.cat and n.name in self.joined:
            self._join(n, self.env[n.all_input_nodes[0]])
        elif _is_mean(n) and inputs and _is_one_pixel(inputs[0]):
            self._lay_out(n)
        elif n.op == "call_module" and without_wrappers(str(n.target)) == n.target:  # else calls share it
            _round_bias(self.fetch_attr(str(n.target)), inputs)
        return super().run_node(n)

    def _join(self, node: fx.Node, first: Tensor) -> None:
        """Have a concatenation use the scale of its own, where that of its first input is another."""
        scale = self.joined[node.name]
        if first.is_quantized and not _equal(first, scale):
            tensors = node.args[0] if node.args else node.kwargs["tensors"]
            dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
            node.target = torch.ops.quantized.cat
            node.args = (tensors, dim, *scale)
            node.kwargs = {}

    def _lay_out(self, node: fx.Node) -> None:
        """torch takes the mean of one int8 pixel for channels_last, and fails for want of dimensions."""
        with node.graph.inserting_before(node):
            first = node.args[0]
            plain = node.graph.call_method("clone", (first,), {"memory_format": torch.contiguous_format})
            plain.meta = dict(first.meta)  # type: ignore[union-attr]
            node.replace_input_with(first, plain)  # type: ignore[arg-type]
        self.env[plain] = super().run_node(plain)


def _round_bias(module: Any, inputs: Any) -> None:
    """Round a layer's bias as its reference's is."""
    if not callable(getattr(module, "set_weight_bias", None)) or module.bias() is None:
        return
    weight = module.weight()
    if inputs[0].is_quantized and weight.qscheme() in _PER_CHANNEL:
        scales = weight.q_per_channel_scales()
        module.set_weight_bias(weight, rounded_bias(module.bias(), inputs[0].q_scale(), scales))


def _equal(tensor: Tensor, scale: tuple[float, int]) -> bool:
    return abs(tensor.q_scale() - scale[0]) <= 1e-6 * scale[0] and tensor.q_zero_point() == scale[1]


def _is_mean(node: fx.Node) -> bool:
    return node.target in (torch.mean, "mean")


def _is_one_pixel(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_quantized
        and value.dim() > 2
        and all(size == 1 for size in value.shape[2:])
    )
