"""What operations there are, and how many multiplications and additions each takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Sizes = tuple[int, ...]

_MOVES = """
    _assert_async _assert_scalar _assert_tensor_metadata _conj _local_scalar_dense _neg_view _reshape_alias
    _to_copy _unsafe_view alias arange as_strided broadcast_to channel_shuffle chunk clone contiguous copy
    detach diagonal empty empty_like empty_strided expand expand_as fill flip full full_like gather im2col
    index index_select int_repr is_same_size lift_fresh masked_fill narrow native_dropout new_empty new_full
    new_ones new_zeros ones ones_like permute pixel_shuffle pixel_unshuffle q_per_channel_scales
    q_per_channel_zero_points q_scale q_zero_point repeat reshape roll scalar_tensor select slice split
    split_with_sizes squeeze t to transpose tril triu unbind unflatten unfold unsafe_chunk unsafe_split
    unsqueeze view view_as_complex view_as_real zero zeros zeros_like
"""
MOVES = frozenset(_MOVES.split())
"""Operators that make, view or copy a tensor. They are rows only where they bring several activations
together, or activations and parameters."""

LOOKUPS = frozenset(("index", "index_select", "gather"))
"""Those that pick from a tensor: an embedding, where that is a parameter and an activation says what."""

_NAMES = {
    "conv": """
        convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    """,
    "matmul": "addmm addmv baddbmm bmm dot linear linear_dynamic matmul mm mv vdot",
    "batch_norm": """
        native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_no_update
        _batch_norm_with_update cudnn_batch_norm miopen_batch_norm batch_norm batch_norm1d batch_norm2d
        batch_norm3d
    """,
    "instance_norm": "instance_norm",
    "layer_norm": "native_layer_norm layer_norm",
    "group_norm": "native_group_norm group_norm",
    "rms_norm": "_fused_rms_norm",
    "relu": "relu",
    "clamp": "hardtanh clamp clamp_min clamp_max relu6",
    "leaky_relu": "leaky_relu",
    "prelu": "_prelu_kernel prelu",
    "elu": "elu celu",
    "gelu": "gelu",
    "mish": "mish",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "softplus": "softplus",
    "tanh": "tanh",
    "hardsigmoid": "hardsigmoid",
    "hardswish": "hardswish",
    "softmax": "_softmax _safe_softmax softmax",
    "log_softmax": "_log_softmax",
    "add": "add sub rsub add_scalar",
    "mul": "mul div mul_scalar",
    "neg": "neg",
    "abs": "abs",
    "sign": "sign",
    "exp": "exp exp2 expm1",
    "log": "log log2 log10 log1p",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "reciprocal": "reciprocal",
    "pow": "pow",
    "compare": "eq ne lt le gt ge",
    "maximum": "maximum minimum",
    "avg_pool": "avg_pool1d avg_pool2d avg_pool3d",
    "max_pool": """
        max_pool1d max_pool2d max_pool2d_with_indices max_pool3d_with_indices quantized_max_pool1d
        quantized_max_pool2d quantized_max_pool3d adaptive_max_pool2d adaptive_max_pool3d
    """,
    "mean": """
        mean _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d
    """,
    "sum": "sum",
    "amax": "amax amin max min argmax argmin",
    "cat": "cat stack",
    "where": "where",
    "pad": """
        constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
        replication_pad2d replication_pad3d
    """,
    "upsample_nearest": """
        upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
        _upsample_nearest_exact2d _upsample_nearest_exact3d
    """,
    "upsample_linear": "upsample_linear1d",
    "upsample_bilinear": "upsample_bilinear2d",
    "upsample_trilinear": "upsample_trilinear3d",
    "embedding": "embedding",
    "quantize": "quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic",
    "dequantize": "dequantize",
}
KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""The kind of an operator, by its name without name space, overload, or the mark of an operation in place."""

_EACH = {
    "batch_norm": (1, 1),
    "instance_norm": (3, 4),
    "layer_norm": (3, 4),
    "group_norm": (3, 4),
    "rms_norm": (3, 1),
    "relu": (1, 0),
    "clamp": (2, 0),
    "leaky_relu": (2, 0),
    "prelu": (2, 0),
    "elu": (3, 1),  # a comparison, an exponential, a scale; less one
    "gelu": (4, 1),  # x / √2, the error function, plus one; x / 2, their product
    "gelu_tanh": (10, 4),  # a cube, two scales and a sum, tanh, plus one; x / 2, their product
    "mish": (7, 3),  # log(1 + exp x), tanh, a product
    "sigmoid": (2, 1),
    "silu": (3, 1),
    "softplus": (3, 1),  # a comparison, log(1 + exp x)
    "tanh": (4, 2),
    "hardsigmoid": (3, 1),
    "hardswish": (4, 1),
    "softmax": (2, 1),
    "log_softmax": (1, 2),  # an exponential and its sum; less the logarithm of that
    "add": (0, 1),
    "mul": (1, 0),
    **dict.fromkeys(("neg", "abs", "sign", "exp", "log", "sqrt", "rsqrt", "reciprocal", "pow"), (1, 0)),
    **dict.fromkeys(("compare", "maximum"), (1, 0)),
    "upsample_linear": (2, 1),
    "upsample_bilinear": (4, 3),
    "upsample_trilinear": (8, 7),
    "quantize": (1, 1),
    "dequantize": (1, 1),
    **dict.fromkeys(("cat", "copy", "pad", "where", "upsample_nearest", "embedding"), (0, 0)),
}
"""Multiplications and additions an output element. A comparison, a change of sign and a function of one
number (exponential, logarithm, root, power, reciprocal, error function) are a multiplication each. A
normalisation by running statistics is one scale and one shift, one by the input's own statistics is an
`instance_norm`, whatever module asked for it."""

WEIGHED = ("conv", "linear", "matmul", "embedding")
"""What has weights, also where a module holds them in a buffer."""

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
        transposed: Whether it is a transposed convolution, of whose dot products the lengths differ.
    """

    multiplies: int
    adds: int
    macs: int = 0
    dot_length: int = 0
    groups: int = 1
    bias: bool = False
    transposed: bool = False


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
    adds = max(macs - outputs, 0) + outputs * bias
    return Arithmetic(macs, adds, macs, length, groups, bias, transposed=True)


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
    return reduced(kind, count, count * window)


def reduced(kind: str, count: int, read: int) -> Arithmetic | None:
    """So many outputs, made of so many elements in all their windows together; None for another kind."""
    steps = max(read - count, 0)
    if kind in ("avg_pool", "mean"):
        return Arithmetic(count, steps)
    if kind == "sum":
        return Arithmetic(0, steps)
    return Arithmetic(steps, 0) if kind in ("max_pool", "amax") else None


def adaptive_read(input_sizes: Sizes, output_sizes: Sizes, dims: int) -> int:
    """The elements that an adaptive pooling reads, over its last dimensions; windows may overlap."""
    pairs = list(zip(input_sizes[-dims:], output_sizes[-dims:], strict=True))
    read = [sum(-(-(i + 1) * n // out) - i * n // out for i in range(out)) for n, out in pairs]
    return math.prod(output_sizes[:-dims]) * math.prod(read)


def window_of(kernel: int | Sequence[int], dims: int = 2) -> int:
    """The volume of a pooling kernel, given as one size or as one a dimension."""
    sizes = [kernel] if isinstance(kernel, int) else list(kernel)
    return math.prod(sizes if len(sizes) > 1 else sizes * dims)
