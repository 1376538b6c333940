"""Small networks as they are executed."""

import torch
from torch import Tensor, nn

from searcher.compression.engines.fx import quantize
from searcher.models import build


def net(name: str = "densenet") -> nn.Module:
    torch.manual_seed(0)
    args = {"growth_rate": 4, "blocks": [2, 2, 2]} if name == "densenet" else {}
    return build(name, args, in_channels=3, classes=10).eval()


def images(count: int = 4) -> Tensor:
    made = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return made.contiguous(memory_format=torch.channels_last)


def executed(kind: str) -> nn.Module:
    """A network as it is executed: float, int8, or int8 with blocks that are kept out of it."""
    exclude = {"dense2": 16, "dense1.0": 16, "classifier": 32} if kind == "kept out" else {}
    return net() if kind == "float" else quantize(net(), [images()], exclude)
