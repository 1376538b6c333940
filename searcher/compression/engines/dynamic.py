"""Dynamic int8: linear layers of int8 weights, by which activations are quantized while the network runs."""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized.modules.linear import LinearPackedParams

from searcher.compression.engines import fx_observers, kernels
from searcher.compression.engines.exclusions import check_exclusions, excluded, keep_out
from searcher.compression.engines.fidelity import MAX_STEPS, Fidelity, decibels
from searcher.compression.engines.fx import Execution
from searcher.compression.engines.kernels import quiet
from searcher.compression.engines.refusals import refused
from searcher.config.stages.quantize import Quantize
from searcher.costs.counting.recorder import record
from searcher.costs.counting.tensors import tensors_in
from searcher.costs.op import Op
from searcher.errors import TrialError

LEAST_SCALE = 6.1e-5
"""Of an activation: torch takes no smaller one, however small all of its values are."""


class DynamicLinear(nn.Module):
    """A linear layer of int8 weights, whose input gets one scale each time it runs.

    torch's own module leaves activations 7 bits, ONNX Runtime 8; this one too, by weights that its kernels
    add exactly.

    Args:
        layer: The layer in floating point.
        per: ``channel`` or ``tensor``, of which the weights have a scale each.
        largest: The largest code of a weight.
    """

    one_operation = True

    def __init__(self, layer: nn.Linear, per: str, largest: int) -> None:
        super().__init__()
        observer = fx_observers.weights(per, largest)()
        weight = layer.weight.detach()
        observer(weight)
        scale, zero_point = observer.calculate_qparams()
        codes = torch.quantize_per_channel(weight, scale.double(), zero_point.long(), 0, torch.qint8)
        self._packed_params = LinearPackedParams(dtype=torch.qint8)  # type: ignore[no-untyped-call]
        bias = None if layer.bias is None else layer.bias.detach().clone()
        self._packed_params.set_weight_bias(codes, bias)

    def weight(self) -> Tensor:
        """The codes (outputs, inputs), a quantized tensor."""
        found: Tensor = self._packed_params._weight_bias()[0]
        return found

    def bias(self) -> Tensor | None:
        """The bias (outputs,), in float32."""
        found: Tensor | None = self._packed_params._weight_bias()[1]
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Float32 activations (..., inputs) to (..., outputs); their codes have 8 bits and one scale."""
        packed = self._packed_params._packed_params
        return torch.ops.quantized.linear_dynamic(x, packed, reduce_range=False)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Dynamic:
    """A network in dynamic int8, beside what is executed.

    Attributes:
        exclude: The width kept by a module, by its path.
        layers: The paths of the linear layers that are executed in int8.
        execution: By which kernels, and how exactly.
    """

    exclude: Mapping[str, int]
    layers: Collection[str]
    execution: Execution


def convert(model: nn.Module, images: Tensor, asked: Quantize) -> tuple[nn.Module, Dynamic]:
    """A copy of a network in dynamic int8.

    Args:
        model: The network in floating point; it is not changed.
        images: Images (N, C, H, W), on which what is executed is held against exact arithmetic.
        asked: What is kept out, and what the weights' scales are of.

    Returns:
        The network, on the CPU, in eval mode.

    Raises:
        SearcherError: An exclusion that cannot be meant.
        TrialError: No linear layer is left, or one does not compute what it should.
    """
    check_exclusions(model, asked.exclude)
    used = kernels.use()
    executed = copy.deepcopy(model).cpu().eval()
    images = images.detach().cpu()
    found = layers(record(executed, images[:1]), dict(executed.named_modules()), asked.exclude)
    with quiet(), refused("torch", "quantize"):
        executed = keep_out(executed, asked.exclude)
        _replace(executed, set(found), asked.weights_per, used.largest_weight)
        fidelity = _check(executed, images)
    return executed, Dynamic(dict(asked.exclude), found, Execution(used, fidelity))


def layers(ops: Sequence[Op], modules: Mapping[str, nn.Module], exclude: Mapping[str, int]) -> list[str]:
    """The paths of the linear layers that run as such and are not kept out, in the order of execution.

    Raises:
        TrialError: There is none.
    """
    found = [
        op.name
        for op in ops
        if op.kind == "linear" and type(modules.get(op.name)) is nn.Linear and not excluded(op.name, exclude)
    ]
    if not found:
        raise TrialError(
            "quantize: dynamic int8 is of linear layers, and this network runs none"
            f"{' that is not kept out' if exclude else ''}"
        )
    return list(dict.fromkeys(found))


def quantized(ops: Sequence[Op], modules: Mapping[str, nn.Module], exclude: Mapping[str, int]) -> list[Op]:
    """The rows with the widths that they will have.

    Args:
        ops: The operations of the network in floating point.
        modules: Its modules by their paths.
        exclude: The width kept by a module, by its path.

    Raises:
        TrialError: No linear layer is left.
    """
    found = set(layers(ops, modules, exclude))
    return [_row(op, op.name in found, exclude) for op in ops]


def _row(op: Op, int8: bool, exclude: Mapping[str, int]) -> Op:
    if int8:
        return replace(op, weight_bits=8, effective_bits=8, activation_bits=8, bits=8)
    outer = excluded(op.name, exclude)
    return op if outer is None else op.at(exclude[outer])


def _replace(model: nn.Module, names: Collection[str], per: str, largest: int) -> None:
    """Put int8 in the place of layers, in place; one that has several paths stays one."""
    made: dict[nn.Module, DynamicLinear] = {}
    for name in names:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        made[layer] = DynamicLinear(layer, per, largest)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in made:
            model.set_submodule(name, made[module])
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # else torch runs it by one operator, of float32 weights


def exact(layer: DynamicLinear, x: Tensor) -> Tensor:
    """The output of a layer, in exact arithmetic on its codes."""
    least, largest = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = (largest - least) / kernels.LARGEST_INPUT or 1.0
    zero_point = round(-least / scale)
    scale = max(scale, LEAST_SCALE)
    codes = (x.double() / scale).round().add(zero_point).clamp(0, kernels.LARGEST_INPUT)
    weight, bias = layer.weight().dequantize().double(), layer.bias()
    found = nn.functional.linear((codes - zero_point) * scale, weight)
    return (found if bias is None else found + bias).float()


@torch.no_grad()
def _check(executed: nn.Module, images: Tensor) -> Fidelity:
    """Hold every layer against exact arithmetic, each reading what that computes.

    Raises:
        TrialError: They do not agree; names the first layer that parts.
    """
    steps: dict[str, float] = {}
    names = {m: name for name, m in executed.named_modules() if isinstance(m, DynamicLinear)}

    def compared(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        wanted = exact(layer, inputs[0])
        scale = float(wanted.max() - wanted.min()) / kernels.LARGEST_INPUT or 1.0
        difference = float((wanted - output).abs().max()) / scale
        steps[names[layer]] = max(difference, steps.get(names[layer], 0.0))
        return wanted

    returned = executed(images)
    with ExitStack() as stack:
        for layer in names:
            stack.callback(layer.register_forward_hook(compared).remove)
        wanted = executed(images)
    worst = next((name for name, off in steps.items() if off > MAX_STEPS), max(steps, key=steps.__getitem__))
    if not steps[worst] <= MAX_STEPS:
        raise TrialError(
            f"int8: {worst} differs from exact arithmetic by {steps[worst]:.1f} steps of its outputs' "
            f"range in 8 bits, at most {MAX_STEPS} are rounding"
        )
    near = min(map(decibels, tensors_in(wanted), tensors_in(returned)), default=math.inf)
    return Fidelity(near, steps[worst], worst, len(steps))
