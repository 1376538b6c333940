"""What operations there are, and how many multiplications and additions each takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Sizes = tuple[int, ...]

_MOVES = """
    _assert_async _conj _local_scalar_dense _reshape_alias _to_copy _unsafe_view alias arange as_strided
    broadcast_to channel_shuffle chunk clone contiguous copy detach diagonal empty empty_like empty_strided
    expand expand_as flip full full_like is_same_size lift_fresh narrow native_dropout new_empty new_full
    new_ones new_zeros ones ones_like permute pixel_shuffle pixel_unshuffle repeat reshape roll
    scalar_tensor select slice split split_with_sizes squeeze t to transpose unbind unflatten unfold
    unsqueeze view zeros zeros_like
"""
MOVES = frozenset(_MOVES.split())
"""Operators that make, view or copy a tensor: they are no rows."""

KINDS = {
    **dict.fromkeys(("convolution", "conv1d", "conv2d", "conv_transpose2d"), "conv"),
    **dict.fromkeys(("addmm", "linear", "linear_dynamic", "mm", "bmm", "baddbmm", "matmul"), "matmul"),
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm2d"),
        "batch_norm",
    ),
    "batch_norm": "batch_norm",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "relu": "relu",
    **dict.fromkeys(("hardtanh", "clamp", "clamp_min", "clamp_max", "relu6"), "clamp"),
    "leaky_relu": "leaky_relu",
    **dict.fromkeys(("_prelu_kernel", "prelu"), "prelu"),
    "sigmoid": "sigmoid",
    "silu": "silu",
    "tanh": "tanh",
    "hardsigmoid": "hardsigmoid",
    "hardswish": "hardswish",
    **dict.fromkeys(("_softmax", "softmax"), "softmax"),
    **dict.fromkeys(("add", "sub", "rsub"), "add"),
    **dict.fromkeys(("mul", "div"), "mul"),
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), "avg_pool"),
    **dict.fromkeys(("max_pool2d_with_indices", "max_pool2d", "quantized_max_pool2d"), "max_pool"),
    **dict.fromkeys(("mean", "_adaptive_avg_pool2d", "adaptive_avg_pool2d"), "mean"),
    "sum": "sum",
    **dict.fromkeys(("amax", "amin"), "amax"),
    **dict.fromkeys(("cat", "stack"), "cat"),
    **dict.fromkeys(("constant_pad_nd", "reflection_pad2d", "replication_pad2d"), "pad"),
    **dict.fromkeys(("upsample_nearest2d", "_upsample_nearest_exact2d"), "upsample_nearest"),
    "upsample_bilinear2d": "upsample_bilinear",
    "embedding": "embedding",
    **dict.fromkeys(
        ("quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic"), "quantize"
    ),
    "dequantize": "dequantize",
}
"""The kind of an operator, by its name without name space, overload, or the mark of an operation in place."""

_EACH = {
    "batch_norm": (1, 1),
    "layer_norm": (3, 4),
    "group_norm": (3, 4),
    "relu": (1, 0),
    "clamp": (2, 0),
    "leaky_relu": (2, 0),
    "prelu": (2, 0),
    "sigmoid": (2, 1),
    "silu": (3, 1),
    "tanh": (4, 2),
    "hardsigmoid": (3, 1),
    "hardswish": (4, 1),
    "softmax": (2, 1),
    "add": (0, 1),
    "mul": (1, 0),
    "upsample_bilinear": (4, 3),
    "quantize": (1, 1),
    "dequantize": (1, 1),
    "cat": (0, 0),
    "pad": (0, 0),
    "upsample_nearest": (0, 0),
    "embedding": (0, 0),
}
"""Multiplications and additions an output element. A comparison is a multiplication, an exponential is one
too; a normalisation by running statistics is one scale and one shift."""

SWALLOWED = frozenset(("batch_norm", "relu", "clamp", "leaky_relu", "hardswish", "hardsigmoid", "pad", "cat"))
"""What a converted graph may have merged into the operation before it."""


@dataclass(frozen=True)
class Arithmetic:
    """What one execution takes.

    Attributes:
        multiplies: Multiplications, comparisons and exponentials.
        adds: Additions: n - 1 in a dot product of length n, one more for a bias.
        macs: Multiply-accumulates of convolutions and matrix products, without the bias.
        dot_length: K, the kernel's area times all the input channels, before it is divided by groups.
        groups: Groups of a convolution, else 1.
        bias: Whether a bias is added.
    """

    multiplies: int
    adds: int
    macs: int = 0
    dot_length: int = 0
    groups: int = 1
    bias: bool = False


def dot_products(count: int, length: int, *, groups: int = 1, bias: bool = False) -> Arithmetic:
    """So many dot products of a length, which is that of one group."""
    macs = count * length
    return Arithmetic(macs, macs - count + count * bias, macs, length * groups, groups, bias)


def convolution(
    input_sizes: Sizes,
    output_sizes: Sizes,
    weight: Sizes,
    *,
    groups: int,
    bias: bool,
    transposed: bool = False,
) -> Arithmetic:
    """A convolution; its weight is (out, in / groups, ...), transposed (in, out / groups, ...)."""
    outputs = math.prod(output_sizes)
    if not transposed:
        return dot_products(outputs, math.prod(weight[1:]), groups=groups, bias=bias)
    macs = math.prod(input_sizes) * math.prod(weight[1:])
    length = math.prod(weight[2:]) * weight[0]
    return Arithmetic(macs, max(macs - outputs, 0) + outputs * bias, macs, length, groups, bias)


def elementwise(kind: str, output_sizes: Sizes) -> Arithmetic | None:
    """An operation whose cost is that of its output elements; None for another kind."""
    if kind not in _EACH:
        return None
    multiplies, adds = _EACH[kind]
    count = math.prod(output_sizes)
    return Arithmetic(multiplies * count, adds * count)


def reduction(kind: str, output_sizes: Sizes, window: int) -> Arithmetic | None:
    """A pooling or a mean over windows of so many elements; None for another kind."""
    count = math.prod(output_sizes)
    if kind in ("avg_pool", "mean"):
        return Arithmetic(count, count * (window - 1))
    if kind == "sum":
        return Arithmetic(0, count * (window - 1))
    return Arithmetic(count * (window - 1), 0) if kind in ("max_pool", "amax") else None


def window_of(kernel: int | Sequence[int]) -> int:
    """The area of a two-dimensional pooling kernel, given as one size or both."""
    sizes = [kernel] if isinstance(kernel, int) else list(kernel)
    return math.prod(sizes if len(sizes) > 1 else sizes * 2)
