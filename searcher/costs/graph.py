"""One walk over a network: what its operations are, and in how many bits each is executed."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from searcher.errors import TrialError

INNER = "_inner"
"""The attribute under which a wrapper holds its module: the wrapper is left out of the paths read back."""

KINDS = {nn.Conv2d: "conv", nn.Linear: "linear", nn.BatchNorm2d: "batch_norm"}
"""The modules that are counted."""


@dataclass(frozen=True)
class Width:
    """What an operation was seen to do, in bits.

    Attributes:
        weight: The packed codes' or the tensor's width; a quantized operation without packed codes
            (batch norm) has that of its output; None without a weight.
        input: The widest floating-point or quantized input.
        output: The widest output.
        operation: The class of the module, or the name of the function, that was executed.
    """

    weight: int | None
    input: int
    output: int
    operation: str


@dataclass(frozen=True)
class Op:
    """One execution of an operation with parameters.

    Attributes:
        name: The module's path in the architecture.
        kind: A value of `KINDS`.
        input_shape: With a batch of one, as is the output's.
        params: Weights and biases, running statistics not; 0 where another row has them already.
        nonzero: Of those, the ones that pay: all but the zeros of convolution and linear weights.
        weight_bits: Width in which the operation is executed.
        activation_bits: Width of the executed operation's input.
        macs: Multiply-accumulates of convolutions and linear layers, without the bias.
        dot_length: K, the kernel's area times all the input channels, before it is divided by groups.
        folded_into: The convolution that has swallowed this batch norm, if one has.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    params: int
    nonzero: int
    weight_bits: int
    activation_bits: int
    macs: int
    dot_length: int
    groups: int
    bias: bool
    folded_into: str | None = None


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    input: Tensor
    output: Tensor


_Saw = Callable[[str, nn.Module, Any, Any], None]


def walk(architecture: nn.Module, executed: nn.Module, example: Tensor) -> list[Op]:
    """The operations of the architecture in order of execution, with the widths that are executed.

    A module called twice gives two rows; its parameters are in the first. A batch norm that was folded
    away has the widths of its convolution. Biases and batch norm parameters always count as non-zero: they
    are not what is pruned, and a batch norm's bias starts at zero.

    Args:
        architecture: The network in floating point, as it is before conversion (pruned, say).
        executed: What runs: the converted network, or the architecture itself.
        example: Images (N, C, H, W), of which the first is used.

    Raises:
        TrialError: An operation for which no executed width is found, or parameters that no operation
            which is counted uses; names the modules.
    """
    calls = _calls(architecture, example[:1])
    widths = executed_bits(executed, example)
    _check_all_counted(architecture, calls)
    producers = {id(call.output): call for call in calls}
    seen: set[int] = set()
    return [_op(call, producers, widths, seen) for call in calls]


def executed_bits(model: nn.Module, example: Tensor) -> dict[str, Width]:
    """Run one image and read back the widths in which everything is executed.

    Modules are named by their path, an FX graph's functions and methods "<scope>.<node>()".

    Args:
        model: A plain module or a `torch.fx.GraphModule`, converted to int8 or not.
        example: Images (N, C, H, W), of which the first is used.
    """
    widths: dict[str, Width] = {}

    def saw(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        widths[name] = _module_width(module, inputs, output)

    with _hooked(model, _is_leaf, saw):
        if isinstance(model, fx.GraphModule):
            _FunctionReader(model, widths).run(example[:1])
        else:
            model(example[:1])
    return widths


class _FunctionReader(fx.Interpreter):
    """Records what no module hook sees: the graph's functions and tensor methods."""

    def __init__(self, model: fx.GraphModule, widths: dict[str, Width]) -> None:
        super().__init__(model)
        self.widths = widths

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op in ("call_function", "call_method") and _tensors(result):
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            scope = next(reversed(n.meta.get("nn_module_stack") or {}), "")
            operation = str(getattr(n.target, "__name__", n.target))
            name = f"{scope}.{n.name}()".lstrip(".")
            self.widths[name] = _width(None, (args, kwargs), result, operation)
        return result


def _module_width(module: nn.Module, inputs: Any, output: Any) -> Width:
    weight, bits = getattr(module, "weight", None), None
    if isinstance(weight, Tensor):
        bits = _bits(output) if output.is_quantized else _bits(weight)
    elif callable(weight):
        bits = _bits(weight())
    return _width(bits, inputs, output, type(module).__name__)


def _width(weight: int | None, inputs: Any, output: Any, operation: str) -> Width:
    read, written = ([_bits(tensor) for tensor in _tensors(value)] for value in (inputs, output))
    out = max(written, default=max(read, default=32))
    return Width(weight, max(read, default=out), out, operation)


def _bits(tensor: Tensor) -> int:
    return tensor.dtype.itemsize * 8


def _tensors(value: Any) -> list[Tensor]:
    """Those that carry activations: a scalar among a quantized function's arguments is a scale."""
    if isinstance(value, Tensor):
        return [value] if value.dim() and (value.is_quantized or value.is_floating_point()) else []
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


def _is_leaf(module: nn.Module) -> bool:
    return callable(getattr(module, "weight", None)) or not any(True for _ in module.children())


def _calls(model: nn.Module, image: Tensor) -> list[_Call]:
    """Tensors are kept, so that the identity of an input tells which operation has produced it."""
    calls: list[_Call] = []

    def saw(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        calls.append(_Call(name, module, _tensors(inputs)[0], output))

    with _hooked(model, lambda module: isinstance(module, tuple(KINDS)), saw):
        model(image)
    return calls


@contextmanager
def _hooked(model: nn.Module, wanted: Callable[[nn.Module], bool], saw: _Saw) -> Iterator[None]:
    """Reports what the wanted modules do; in eval mode and without gradients meanwhile."""
    training = [module for module in model.modules() if module.training]
    with ExitStack() as stack, torch.no_grad():
        for path, module in model.named_modules():
            if wanted(module):
                name = ".".join(part for part in path.split(".") if part != INNER)
                handle = module.register_forward_hook(_hook(name, saw), with_kwargs=True)
                stack.callback(handle.remove)
        for module in training:
            module.training = False
            stack.callback(setattr, module, "training", True)
        yield


def _hook(name: str, saw: _Saw) -> Callable[..., None]:
    return lambda module, args, kwargs, output: saw(name, module, (args, kwargs), output)


def _check_all_counted(model: nn.Module, calls: list[_Call]) -> None:
    counted = {id(p) for call in calls for p in call.module.parameters(recurse=False)}
    missed = [name for name, p in model.named_parameters() if id(p) not in counted]
    if missed:
        raise TrialError(f"no operation that is counted uses the parameters {', '.join(missed)}")


def _op(call: _Call, producers: dict[int, _Call], widths: dict[str, Width], seen: set[int]) -> Op:
    module, groups = call.module, getattr(call.module, "groups", 1)
    folded_into = None if call.name in widths else _folded_into(call, producers, widths)
    width = widths[folded_into or call.name]
    params = [p for p in module.parameters(recurse=False) if id(p) not in seen]
    seen.update(id(p) for p in params)
    return Op(
        name=call.name,
        kind=next(kind for counted, kind in KINDS.items() if isinstance(module, counted)),
        input_shape=tuple(call.input.shape),
        output_shape=tuple(call.output.shape),
        params=sum(p.numel() for p in params),
        nonzero=sum(int(p.count_nonzero()) if p.dim() > 1 else p.numel() for p in params),
        weight_bits=width.weight or width.output,
        activation_bits=width.input,
        macs=call.output.numel() * _dot_length(module) // groups,
        dot_length=_dot_length(module),
        groups=groups,
        bias=isinstance(module.bias, Tensor),
        folded_into=folded_into,
    )


def _dot_length(module: nn.Module) -> int:
    if isinstance(module, nn.Conv2d):
        return math.prod(module.kernel_size) * module.in_channels
    return module.in_features if isinstance(module, nn.Linear) else 0


def _folded_into(call: _Call, producers: dict[int, _Call], widths: dict[str, Width]) -> str:
    before = producers.get(id(call.input))
    if not isinstance(call.module, nn.BatchNorm2d) or before is None or before.name not in widths:
        raise TrialError(f"{call.name}: no operation of that name is executed, and none has swallowed it")
    return before.name
