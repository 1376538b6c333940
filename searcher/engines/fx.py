"""int8 post-training static quantization by PyTorch's FX graph mode: the only file that uses `torch.ao`."""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.intrinsic.modules.fused import _FusedModule
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver, QConfig, QConfigMapping
from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
from torch.ao.quantization.quantize_fx import (
    _convert_to_reference_decomposed_fx,
    convert_fx,
    prepare_fx,
)
from torch.nn import functional as F

from searcher.costs.op import Op
from searcher.costs.record import record
from searcher.costs.scope import INNER
from searcher.engines.kept_out import KeptOut, check_exclusions, excluded, keep_out
from searcher.engines.refusals import refused
from searcher.errors import SearcherError, TrialError

ENGINE = "onednn"
"""The kernels: those of x86 and fbgemm saturate with 8-bit activations."""

LARGEST_BIAS = 2**30
"""Of an int8 layer, in units of its input's scale times its weights': half of what 32 bits hold."""

_WARNINGS = {
    "torch.ao.quantization is deprecated and will be removed in 2.10": DeprecationWarning,
    "torch.quantize_per_tensor, torch.quantize_per_channel and other quantized tensor creation": UserWarning,
    "QConfig must specify a FixedQParamsObserver": UserWarning,
}


@dataclass(frozen=True)
class Prepared:
    """A calibrated network: what its int8 forms are converted from.

    Attributes:
        graph: The observed `torch.fx.GraphModule`, on the CPU; converting it leaves it as it is.
        example: One calibration image (1, C, H, W).
        exclude: The width kept by a module, by its path.
    """

    graph: torch.fx.GraphModule
    example: Tensor
    exclude: Mapping[str, int]


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


def quantize(model: nn.Module, batches: Iterable[Tensor], exclude: Mapping[str, int]) -> nn.Module:
    """`prepare` and `convert` in one."""
    return convert(model, prepare(model, batches, exclude))


def prepare(model: nn.Module, batches: Iterable[Tensor], exclude: Mapping[str, int]) -> Prepared:
    """Observe a copy of a network on calibration images.

    Args:
        model: A float32 network that `torch.fx` can trace; it is not changed.
        batches: Calibration images, each (N, C, H, W); at least one batch.
        exclude: The width kept by a module, by its path: 16 (bfloat16) or 32 (float32).

    Raises:
        SearcherError: A path that is not a module, one inside another, another width, or no images.
        TrialError: The network cannot be traced, or has a layer that FX cannot observe.
    """
    check_exclusions(model, exclude)
    _set_engine()
    reference = copy.deepcopy(model).cpu().eval()
    reference.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = (batch.detach().cpu() for batch in batches)
    first = next(images, None)
    if first is None:
        raise SearcherError("quantize: there are no calibration images")
    with _quiet(), refused("PyTorch FX", "quantize"):
        graph = _prepare(keep_out(reference, exclude), first[:1])
        _calibrate(graph, first, images)
    return Prepared(graph, first[:1].clone(), dict(exclude))


def convert(model: nn.Module, prepared: Prepared) -> nn.Module:
    """To int8: weights per channel and symmetric, activations per tensor.

    Excluded modules run in floating point from end to end, with casts at their borders only. The result is
    read back: it is returned only if everything runs in the width that was asked for.

    Args:
        model: The float network that was prepared.
        prepared: What `prepare` has made of it.

    Returns:
        The converted `torch.fx.GraphModule`, on the CPU, in eval mode.

    Raises:
        TrialError: The network is not executed as asked.
    """
    with _quiet(), refused("PyTorch FX", "quantize"):
        converted: nn.Module = convert_fx(copy.deepcopy(prepared.graph))
        verify(model, converted, prepared.example, prepared.exclude)
    return converted


def reference(prepared: Prepared) -> Reference:
    """The network that `convert` executes, with its scales and zero points, for an export.

    Only a channel whose bias would overflow 32 bits, in units of its input's scale times its weights', has a
    larger scale for its weights: as small as they are beside the bias, that makes no difference.
    """
    with _quiet():
        model = _convert_to_reference_decomposed_fx(copy.deepcopy(prepared.graph))
        for layer, input_scale in _int8_layers(model):
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
            module.float().dtype = torch.float32
    return Reference(model, paths, frozenset(halves))


def verify(model: nn.Module, converted: nn.Module, example: Tensor, exclude: Mapping[str, int]) -> None:
    """Read back what a converted network executes and compare it with what was asked for.

    Args:
        model: The float network that was converted.
        converted: What is executed.
        example: Images (N, C, H, W), of which the first is run.
        exclude: The width kept by a module, by its path.

    Raises:
        TrialError: An operation of an excluded module that runs in another width, or a convolution or
            linear layer outside of them that is not int8; names the module and the operation.
    """
    ops = record(converted, example[:1])
    errors = [_leak(op, exclude) for op in ops]
    by_name = {op.name: op for op in ops}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            errors.append(_not_int8(name, by_name.get(name), exclude))
    found = [error for error in errors if error]
    if found:
        raise TrialError("not quantized as asked: " + "; ".join(found))


def _set_engine() -> None:
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise TrialError(f"this build of torch has no {ENGINE} engine for int8")
    torch.backends.quantized.engine = ENGINE
    assert torch.backends.quantized.engine == ENGINE


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        for text, category in _WARNINGS.items():
            warnings.filterwarnings("ignore", message=text, category=category)
        yield


def _prepare(model: nn.Module, image: Tensor) -> torch.fx.GraphModule:
    weight = PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-127, quant_max=127
    )
    qconfig = QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8), weight=weight)  # type: ignore[no-untyped-call]
    mapping = QConfigMapping().set_global(qconfig).set_object_type(KeptOut, None)
    custom = PrepareCustomConfig().set_non_traceable_module_classes([KeptOut])
    try:
        graph: torch.fx.GraphModule = prepare_fx(model, mapping, (image,), prepare_custom_config=custom)
        _share_observers(graph)
        return graph
    except torch.fx.proxy.TraceError as error:
        raise TrialError(f"quantize: {type(model).__name__} cannot be traced: {error}") from error


def _share_observers(graph: torch.fx.GraphModule) -> None:
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
        inputs = node.args[0] if node.target is torch.cat else node.all_input_nodes
        if node.target is torch.cat or _keeps_scale(node, named):
            found = [n for n in (*inputs, *node.users) if _observes(n, named)]
            for other in found[1:]:
                first, second = root(named[str(found[0].target)]), root(named[str(other.target)])
                if first is not second:
                    same[id(second)] = first
    for name, module in named.items():
        if id(module) in same:
            graph.set_submodule(name, root(module))


def _keeps_scale(node: torch.fx.Node, named: Mapping[str, nn.Module]) -> bool:
    """Whether an int8 tensor leaves as it came, but for its height and width."""
    if node.op == "call_module":
        return isinstance(named[str(node.target)], nn.MaxPool2d | nn.Upsample)
    return node.target in (F.interpolate, F.max_pool2d)


def _observes(node: torch.fx.Node, named: Mapping[str, nn.Module]) -> bool:
    return node.op == "call_module" and isinstance(named[str(node.target)], MinMaxObserver)


@torch.no_grad()
def _calibrate(prepared: nn.Module, first: Tensor, rest: Iterable[Tensor]) -> None:
    prepared(first)
    for batch in rest:
        prepared(batch)


def _int8_layers(model: torch.fx.GraphModule) -> Iterator[tuple[Any, float]]:
    """The layers of a reference network that are to run in int8, and the scales of their inputs."""
    for node in model.graph.nodes:
        called: Any = model.get_submodule(node.target) if node.op == "call_module" else None
        layer = called.get_submodule("0") if isinstance(called, _FusedModule) else called
        if getattr(layer, "weight_scale", None) is not None:
            yield layer, node.args[0].args[1]


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
    return outer.removesuffix(".") if outer else ".".join(part for part in name.split(".") if part != INNER)


def _leak(op: Op, exclude: Mapping[str, int]) -> str | None:
    outer = excluded(op.name, exclude)
    if outer is None:
        return None
    asked = exclude[outer]
    seen = {op.bits, op.activation_bits, op.output_bits}
    if seen == {asked}:
        return None
    return f"{op.name} ({op.operation}) runs in {min(seen - {asked})} bits, {outer} was to be kept at {asked}"


def _not_int8(name: str, op: Op | None, exclude: Mapping[str, int]) -> str | None:
    if op is None:
        return f"{name} is not executed"
    if excluded(name, exclude) or op.weight_bits == op.activation_bits == 8:
        return None
    return f"{name} ({op.operation}) runs in {op.weight_bits} bits, not 8"
