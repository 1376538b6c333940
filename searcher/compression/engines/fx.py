"""int8 post-training static quantization by PyTorch's FX graph mode; only the `fx` files use `torch.ao`."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.quantization import QConfig, QConfigMapping
from torch.ao.quantization.fx.custom_config import PrepareCustomConfig
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from searcher.compression.engines import fidelity, fx_observers, kernels
from searcher.compression.engines.exclusions import (
    KeptOut,
    check_exclusions,
    check_widths,
    excluded,
    keep_out,
)
from searcher.compression.engines.fidelity import Fidelity
from searcher.compression.engines.fx_codes import narrow_codes, saturate
from searcher.compression.engines.fx_graph import repair_converted, repair_prepared, spell_out_padding
from searcher.compression.engines.fx_reference import Prepared, decomposed
from searcher.compression.engines.fx_repeats import copy_repeated
from searcher.compression.engines.kernels import Kernels, quiet
from searcher.compression.engines.refusals import refused
from searcher.config.stages.int8 import Int8
from searcher.config.stages.quantize import Quantize
from searcher.costs.counting.executed import CODES
from searcher.costs.counting.recorder import record
from searcher.costs.op import Op
from searcher.errors import SearcherError, TrialError
from searcher.wording import EXACT

CHECKED_IMAGES = 8
"""Calibration images on which an int8 network is held against its reference."""

_EXECUTION = "execution"
_NEVER_INT8 = (nn.PReLU, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Execution:
    """The kernels that execute an int8 network, and how what they compute agrees with exact arithmetic."""

    kernels: Kernels
    fidelity: Fidelity

    @property
    def figures(self) -> dict[str, Any]:
        """All of it, as it is stored with a trial."""
        decibels = min(self.fidelity.decibels, EXACT)
        return {**asdict(self.kernels), "decibels": decibels, "steps": self.fidelity.steps}


def quantize(model: nn.Module, batches: Iterable[Tensor], exclude: Mapping[str, int]) -> nn.Module:
    """`prepare` and `convert` in one."""
    return convert(model, prepare(model, batches, exclude))


def prepare(
    model: nn.Module, batches: Iterable[Tensor], exclude: Mapping[str, int], asked: Int8 | None = None
) -> Prepared:
    """Observe a copy of a network on calibration images.

    Args:
        model: A float32 network that `torch.fx` can trace; it is not changed.
        batches: Calibration images, each (N, C, H, W); at least one batch.
        exclude: The width kept by a module, by its path: 16 (bfloat16) or 32 (float32).
        asked: Observers and widths of codes; the defaults of `Quantize` where it is not given.

    Raises:
        SearcherError: A path that is not a module, one inside another, another width, or no images.
        TrialError: The network cannot be traced, or has a layer that FX cannot observe.
    """
    asked = asked or Quantize()
    check_exclusions(model, exclude)
    check_widths(model, asked.bits, exclude)
    kernels.use()
    reference = copy.deepcopy(model).cpu().eval()
    reference.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = (batch.detach().cpu() for batch in batches)
    first = next(images, None)
    if first is None:
        raise SearcherError("quantize: there are no calibration images")
    with quiet(), refused("PyTorch FX", "quantize"):
        spell_out_padding(reference)
        reference = keep_out(reference, exclude)
        _check_modules(reference)
        copy_repeated(reference, first[:1])
        graph = _prepare(reference, first[:1], asked)
        _calibrate(graph, first, images)
    return Prepared(graph, first[:CHECKED_IMAGES].clone(), dict(exclude), asked)


def convert(model: nn.Module, prepared: Prepared) -> nn.Module:
    """To int8: weights per channel and symmetric, activations per tensor.

    Excluded modules run in floating point from end to end, with casts at their borders only. The result is
    read back, and held against its reference in exact arithmetic on calibration images: it is returned only
    if everything runs in the width that was asked for, and computes what was calibrated.

    Args:
        model: The float network that was prepared.
        prepared: What `prepare` has made of it.

    Returns:
        The converted `torch.fx.GraphModule`, on the CPU, in eval mode; its `Execution` is what `execution`
        returns.

    Raises:
        TrialError: The network is not executed as asked; names the module.
    """
    used = kernels.use()
    with quiet(), refused("PyTorch FX", "quantize"):
        converted: torch.fx.GraphModule = convert_fx(copy.deepcopy(prepared.graph))
        repair_converted(converted, prepared.graph, prepared.example)
        saturate(converted, prepared.graph, prepared.example)
        verify(model, converted, prepared.example, prepared.exclude)
        narrow = prepared.asked.narrow
        found = fidelity.check(converted, decomposed(prepared), prepared.images, narrow=narrow)
    converted.meta[_EXECUTION] = Execution(used, found)
    converted.meta[CODES] = prepared.asked
    return converted


def execution(model: nn.Module) -> Execution | None:
    """In what an int8 network is executed; None of a network in floating point."""
    return getattr(model, "meta", {}).get(_EXECUTION)


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
    by_name = defaultdict(list)
    for op in ops:
        by_name[op.name].append(op)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            errors.append(_not_int8(name, by_name[name], exclude))
    found = [error for error in errors if error]
    if found:
        raise TrialError("not quantized as asked: " + "; ".join(found))


def _check_modules(model: nn.Module) -> None:
    """Name the modules that FX fails for, in words that name none."""
    kept = {inner for m in model.modules() if isinstance(m, KeptOut) for inner in m.modules()}
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, _NEVER_INT8) and m not in kept]
    if found:
        listed = ", ".join(f"{name} ({type(module).__name__})" for name, module in found)
        raise TrialError(f"quantize: PyTorch FX has no int8 for {listed}; exclude them, at 16 or 32 bits")


def _prepare(model: nn.Module, image: Tensor, asked: Int8) -> torch.fx.GraphModule:
    largest = kernels.use().largest_weight
    weight = fx_observers.weights(asked.weights_per, largest)
    activation = fx_observers.activations(asked.observer, asked.percentile)
    qconfig = QConfig(activation=activation, weight=weight)  # type: ignore[no-untyped-call]
    mapping = QConfigMapping().set_global(qconfig).set_object_type(KeptOut, None)
    custom = PrepareCustomConfig().set_non_traceable_module_classes([KeptOut])
    try:
        graph: torch.fx.GraphModule = prepare_fx(model, mapping, (image,), prepare_custom_config=custom)
        repair_prepared(graph)
        if asked.narrow:
            narrow_codes(graph, asked, largest)
        return graph
    except torch.fx.proxy.TraceError as error:
        raise TrialError(f"quantize: {type(model).__name__} cannot be traced: {error}") from error


@torch.no_grad()
def _calibrate(prepared: nn.Module, first: Tensor, rest: Iterable[Tensor]) -> None:
    prepared(first)
    for batch in rest:
        prepared(batch)


def _leak(op: Op, exclude: Mapping[str, int]) -> str | None:
    outer = excluded(op.name, exclude)
    if outer is None:
        return None
    asked = exclude[outer]
    seen = {op.bits, op.activation_bits, op.output_bits}
    if seen == {asked}:
        return None
    return f"{op.name} ({op.operation}) runs in {min(seen - {asked})} bits, {outer} was to be kept at {asked}"


def _not_int8(name: str, calls: Sequence[Op], exclude: Mapping[str, int]) -> str | None:
    if not calls:
        # What is kept out as a whole may take its layers' weights without calling them.
        outer = excluded(name, exclude)
        return None if outer and outer != name else f"{name} is not executed"
    layers = [op for op in calls if op.weight_bits is not None] or calls
    wider = [op for op in layers if max(op.weight_bits or 32, op.activation_bits) > 8]
    if excluded(name, exclude) or not wider:
        return None
    return f"{name} ({wider[0].operation}) runs in {wider[0].weight_bits} bits, not 8"
