"""int8 post-training static quantization by PyTorch's FX graph mode: the only file that uses `torch.ao`."""

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import MinMaxObserver, PerChannelMinMaxObserver, QConfig, QConfigMapping
from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from searcher.costs.op import Op
from searcher.costs.record import record
from searcher.costs.scope import INNER
from searcher.errors import SearcherError, TrialError, unknown

ENGINE = "onednn"
"""The kernels: those of x86 and fbgemm saturate with 8-bit activations."""

_DTYPES = {16: torch.bfloat16, 32: torch.float32}
_WARNINGS = {
    "torch.ao.quantization is deprecated and will be removed in 2.10": DeprecationWarning,
    "torch.quantize_per_tensor, torch.quantize_per_channel and other quantized tensor creation": UserWarning,
}


def quantize(model: nn.Module, batches: Iterable[Tensor], exclude: Mapping[str, int]) -> nn.Module:
    """Quantize a copy of a network to int8: weights per channel and symmetric, activations per tensor.

    Excluded modules run in floating point from end to end, with casts at their borders only. The result is
    read back: it is returned only if everything runs in the width that was asked for.

    Args:
        model: A float32 network that `torch.fx` can trace; it is not changed.
        batches: Calibration images, each (N, C, H, W); at least one batch.
        exclude: The width kept by a module, by its path: 16 (bfloat16) or 32 (float32).

    Returns:
        The converted `torch.fx.GraphModule`, on the CPU, in eval mode.

    Raises:
        SearcherError: A path that is not a module, one inside another, another width, or no images.
        TrialError: The network cannot be traced, or is not executed as asked.
    """
    _check_exclusions(model, exclude)
    _set_engine()
    reference = copy.deepcopy(model).cpu().eval()
    reference.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = (batch.detach().cpu() for batch in batches)
    first = next(images, None)
    if first is None:
        raise SearcherError("quantize: there are no calibration images")
    with _quiet():
        prepared = _prepare(_keep_out(reference, exclude), first[:1])
        _calibrate(prepared, first, images)
        converted: nn.Module = convert_fx(prepared)
        verify(model, converted, first, exclude)
    return converted


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


class KeptOut(nn.Module):
    """Runs a module in a floating-point type of its own; quantization does not look inside."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.add_module(INNER, module.to(dtype))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own inputs and outputs, in float32."""
        inner = self.get_submodule(INNER)
        return _cast(inner(*_cast(args, self.dtype), **_cast(kwargs, self.dtype)), torch.float32)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _cast(item, dtype) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_cast(item, dtype) for item in value)
    return value


def _check_exclusions(model: nn.Module, exclude: Mapping[str, int]) -> None:
    names = {name for name, _ in model.named_modules(remove_duplicate=False) if name}
    for name, bits in exclude.items():
        if name not in names:
            raise unknown("module", name, names)
        if bits not in _DTYPES:
            raise SearcherError(f"exclude: {name} can be kept at 16 or 32 bits, got {bits}")
        outer = next((other for other in exclude if name.startswith(f"{other}.")), None)
        if outer is not None:
            raise SearcherError(f"exclude: {name} is inside {outer}, which is excluded already")


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


def _keep_out(model: nn.Module, exclude: Mapping[str, int]) -> nn.Module:
    for name, bits in exclude.items():
        for path in _callable_paths(model, name):
            model.set_submodule(path, KeptOut(model.get_submodule(path), _DTYPES[bits]))
    return model


def _callable_paths(model: nn.Module, name: str) -> list[str]:
    """The module itself, or what a list of modules holds: a list has no forward to wrap."""
    module = model.get_submodule(name)
    if not isinstance(module, nn.ModuleList | nn.ModuleDict):
        return [name]
    return [
        path for child, _ in module.named_children() for path in _callable_paths(model, f"{name}.{child}")
    ]


def _prepare(model: nn.Module, image: Tensor) -> torch.fx.GraphModule:
    weight = PerChannelMinMaxObserver.with_args(
        dtype=torch.qint8, qscheme=torch.per_channel_symmetric, quant_min=-127, quant_max=127
    )
    qconfig = QConfig(activation=MinMaxObserver.with_args(dtype=torch.quint8), weight=weight)  # type: ignore[no-untyped-call]
    mapping = QConfigMapping().set_global(qconfig).set_object_type(KeptOut, None)
    custom = PrepareCustomConfig().set_non_traceable_module_classes([KeptOut])
    try:
        return prepare_fx(model, mapping, (image,), prepare_custom_config=custom)
    except torch.fx.proxy.TraceError as error:
        raise TrialError(f"quantize: {type(model).__name__} cannot be traced: {error}") from error


@torch.no_grad()
def _calibrate(prepared: nn.Module, first: Tensor, rest: Iterable[Tensor]) -> None:
    prepared(first)
    for batch in rest:
        prepared(batch)


def _excluded(name: str, exclude: Mapping[str, int]) -> str | None:
    return next((outer for outer in exclude if f"{name}.".startswith(f"{outer}.")), None)


def _leak(op: Op, exclude: Mapping[str, int]) -> str | None:
    outer = _excluded(op.name, exclude)
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
    if _excluded(name, exclude) or op.weight_bits == op.activation_bits == 8:
        return None
    return f"{name} ({op.operation}) runs in {op.weight_bits} bits, not 8"
