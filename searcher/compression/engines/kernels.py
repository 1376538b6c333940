"""The int8 kernels of this machine: whose they are, and in how many bits they add products."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch
from torch import Tensor

from searcher import wording
from searcher.costs.counting.tensors import NARROW
from searcher.errors import TrialError

_WARNINGS = {
    "torch.ao.quantization is deprecated and will be removed in 2.10": DeprecationWarning,
    "torch.quantize_per_tensor, torch.quantize_per_channel and other quantized tensor creation": UserWarning,
    "QConfig must specify a FixedQParamsObserver": UserWarning,
}

ENGINE = "onednn"
"""The library of int8 kernels, in torch's words."""

LARGEST_INPUT = 255
"""The largest code of an activation."""

LARGEST_CODE = 127
"""The largest code of a weight that 8 bits hold on both sides of zero."""

LARGEST_NARROW_CODE = NARROW
"""The largest of which two products with the largest input fit 16 bits: 2 · 255 · 64 < 2^15.

Larger ones saturate where pairs of products are added in 16 bits, as on x86 without VNNI, in torch as in ONNX
Runtime.
"""


@dataclass(frozen=True)
class Kernels:
    """The kernels that execute int8 layers on this machine.

    Attributes:
        engine: The library, in torch's words.
        instructions: The processor's instruction set, as torch sees it.
        sum_bits: The width in which two products of codes are added, 16 or 32.
    """

    engine: str
    instructions: str
    sum_bits: int

    @property
    def largest_weight(self) -> int:
        """The largest code of a weight with which these kernels are exact."""
        return LARGEST_CODE if self.sum_bits == 32 else LARGEST_NARROW_CODE

    def __str__(self) -> str:
        return wording.kernels(asdict(self))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that torch gives of every use of int8."""
    with warnings.catch_warnings():
        for text, category in _WARNINGS.items():
            warnings.filterwarnings("ignore", message=text, category=category)
        yield


def use() -> Kernels:
    """Have torch run int8 layers by `ENGINE` from now on.

    Raises:
        TrialError: This build of torch has no such kernels.
    """
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise TrialError(f"this build of torch has no {ENGINE} engine for int8")
    torch.backends.quantized.engine = ENGINE
    assert torch.backends.quantized.engine == ENGINE
    return _kernels()


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    with quiet():
        exact = all(sum_of_largest(layer) == 1 for layer in ("conv2d", "linear"))
    return Kernels(ENGINE, torch.backends.cpu.get_cpu_capability(), 32 if exact else 16)


def sum_of_largest(layer: str, weight: int = LARGEST_CODE) -> float:
    """A sum of eight of the largest products, as a layer of the engine in use computes it.

    oneDNN adds pairs of products in 16 bits where the processor has no instruction that adds them in 32
    (VNNI): the sum then comes out at half. The processor's flags do not tell, for the library may be kept
    from using what the processor has.

    Args:
        layer: ``conv2d`` or ``linear``.
        weight: The code of all weights.

    Returns:
        The share of the exact sum: 1 where it is right.
    """
    exact = 8.0 * LARGEST_INPUT * weight
    inputs, weights = torch.full((1, 8), float(LARGEST_INPUT)), torch.full((8, 8), float(weight))
    if layer == "linear":
        packed = torch.ops.quantized.linear_prepack(_codes(weights), None)
        total = torch.ops.quantized.linear(_unsigned(inputs), packed, exact / LARGEST_INPUT, 0)
    else:
        packed = torch.ops.quantized.conv2d_prepack(
            _codes(weights.view(8, 8, 1, 1)), None, [1, 1], [0, 0], [1, 1], 1
        )
        total = torch.ops.quantized.conv2d(
            _unsigned(inputs.view(1, 8, 1, 1)), packed, exact / LARGEST_INPUT, 0
        )
    return float(total.int_repr().flatten()[0]) / LARGEST_INPUT


def _codes(weights: Tensor) -> Tensor:
    ones, zeros = torch.ones(len(weights)), torch.zeros(len(weights), dtype=torch.long)
    return torch.quantize_per_channel(weights, ones, zeros, 0, torch.qint8)


def _unsigned(values: Tensor) -> Tensor:
    return torch.quantize_per_tensor(values, 1.0, 0, torch.quint8)
