"""A module without values as it is after pruning, of the sizes that its row has."""

import torch
from torch import nn

from searcher.costs.op import Op

_NORMS = nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm


def resize(module: nn.Module, op: Op) -> None:
    """Give a module on the meta device the channels that its row reads and makes; another kind stays.

    Args:
        module: The module that has made the row.
        op: The row.
    """
    if isinstance(module, nn.Conv2d):
        read, made = op.inputs[0][1], op.output[1]
        if module.groups == module.in_channels:
            module.groups = read
        module.in_channels, module.out_channels = read, made
        _put(module, "weight", made, read // module.groups, *module.kernel_size)
        _put(module, "bias", made)
    elif isinstance(module, nn.Linear):
        module.in_features = op.inputs[0][-1]
        _put(module, "weight", module.out_features, module.in_features)
    elif isinstance(module, _NORMS):
        read = op.inputs[0][1]
        if isinstance(module, nn.GroupNorm):
            module.num_channels = read
        else:
            module.num_features = read
        for name in ("weight", "bias", "running_mean", "running_var"):
            _put(module, name, read)


def _put(module: nn.Module, name: str, *sizes: int) -> None:
    tensor = torch.empty(sizes, device="meta")
    if module._parameters.get(name) is not None:
        module._parameters[name] = nn.Parameter(tensor)
    elif module._buffers.get(name) is not None:
        module._buffers[name] = tensor
