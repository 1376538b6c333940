"""Modules that are called several times: a copy for each call, for an int8 module writes in one scale."""

import copy
import itertools
from collections import Counter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn import quantized as nnq

from searcher.compression.engines.exclusions import KeptOut
from searcher.costs.counting.scope import CALL, INNER, repeated_call

_PACKED = "_packed_params"
_SCALED = (nn.ELU, nn.Hardswish, nn.LeakyReLU, nn.Softmax, nn.modules.instancenorm._InstanceNorm)


class PerCall(nn.Module):
    """A module that is called several times, with a copy for each further call.

    An int8 module has one scale for what it writes, and PyTorch joins a module with what follows its first
    call, for all its calls. The copies have the module's own parameters.
    """

    def __init__(self, module: nn.Module, calls: int) -> None:
        super().__init__()
        self.add_module(INNER, module)
        for number in range(2, calls + 1):
            self.add_module(f"{CALL}{number}", _sharing_copy(module))
        self._next = itertools.cycle(self._modules.values())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The next copy's outputs."""
        called = next(self._next)
        assert called is not None
        return called(*args, **kwargs)


def copy_repeated(model: nn.Module, images: Tensor) -> None:
    """Give every further call of a module with a scale of its own a copy, in place.

    Args:
        model: The network, whose forward is run once.
        images: Images (N, C, H, W).
    """
    calls: Counter[nn.Module] = Counter()
    kept = {inner for m in model.modules() if isinstance(m, KeptOut) for inner in m.modules()}
    leaves = [m for m in model.modules() if m not in kept and _has_scale(m)]
    hooks = [m.register_forward_hook(lambda module, *_: calls.update([module])) for m in leaves]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    wrappers = {module: PerCall(module, count) for module, count in calls.items() if count > 1}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in wrappers:
            model.set_submodule(name, wrappers[module])


def _has_scale(module: nn.Module) -> bool:
    alone = not any(True for _ in module.children()) and type(module).__module__.startswith("torch.nn.")
    return alone and (bool([*module.parameters(), *module.buffers()]) or isinstance(module, _SCALED))


def _sharing_copy(module: nn.Module) -> nn.Module:
    """A copy with the same parameters and buffers."""
    shared = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in shared})


def share_weights(converted: fx.GraphModule) -> None:
    """Give the copies of a module that is called several times its weights, not copies of them."""
    named = dict(converted.named_modules())
    for name, module in named.items():
        head, _, last = name.rpartition(".")
        if repeated_call(last) and hasattr(module, _PACKED):
            own: Any = named.get(f"{head}.{INNER}")
            if own is None or not _same_weights(module, own):
                continue  # its first call is not used, or was joined with another norm
            linear = isinstance(module, nnq.Linear)
            holder, source = (module._packed_params, own._packed_params) if linear else (module, own)
            holder._packed_params = source._packed_params


def _same_weights(module: Any, own: Any) -> bool:
    """Whether two int8 modules have the same weights and biases."""
    pairs = zip(_values(module), _values(own), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def _values(module: Any) -> list[Tensor]:
    weight, bias = module.weight(), module.bias()
    return [weight.dequantize(), torch.empty(0) if bias is None else bias.detach()]
