"""Dynamic int8 as ONNX has it: linear layers that quantize what they read, and multiply integers."""

import copy

import torch
from torch import Tensor, nn

from searcher.compression.engines.dynamic import DynamicLinear
from searcher.compression.engines.exclusions import KeptOut
from searcher.compression.engines.fx_reference import Reference
from searcher.costs.counting.scope import without_wrappers


class _Layer(nn.Module):
    """A layer as the operators of ONNX that ONNX Runtime makes one of."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, layer: DynamicLinear) -> None:
        super().__init__()
        codes, bias = layer.weight(), layer.bias()
        self.register_buffer("weight", codes.int_repr().T.contiguous())
        self.register_buffer("scale", codes.q_per_channel_scales().float())
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """Float32 activations (..., inputs) to (..., outputs); run by torch, it returns zeros."""
        symbolic = torch.onnx.ops.symbolic
        codes, scale, zero_point = torch.onnx.ops.symbolic_multi_out(
            "DynamicQuantizeLinear",
            (x,),
            dtypes=(torch.uint8, torch.float32, torch.uint8),
            shapes=(x.shape, (), ()),
        )
        sizes = (*x.shape[:-1], self.weight.shape[1])
        sums = symbolic("MatMulInteger", (codes, self.weight, zero_point), dtype=torch.int32, shape=sizes)
        found = sums.float() * (scale * self.scale)
        return found if self.bias is None else found + self.bias


def reference(executed: nn.Module) -> Reference:
    """A network in dynamic int8 to export; modules kept out at 16 bits compute in float32.

    Args:
        executed: The network, which is not changed.
    """
    model = copy.deepcopy(executed)
    halves: set[str] = set()
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, DynamicLinear):
            model.set_submodule(name, _Layer(module))
        elif isinstance(module, KeptOut):
            halves |= _paths(name, module) if module.dtype == torch.bfloat16 else set()
            module.compute_in_float32()
    paths = {name: without_wrappers(name) for name, _ in model.named_modules()}
    return Reference(model, paths, frozenset(halves))


def _paths(name: str, module: nn.Module) -> set[str]:
    return {without_wrappers(f"{name}.{inner}") for inner, _ in module.named_modules() if inner}
