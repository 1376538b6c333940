"""The table of torch's operators: how each is counted, pruned and quantized."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operator:
    """A row of the table; lists of names are separated by white space.

    Attributes:
        kind: What its rows are listed as, and known to scores by.
        names: The operators that torch dispatches, in ``aten`` or ``quantized``: without name space, overload
            and the mark of an operation in place.
        each: Multiplications and additions an output element; None for dot products, which take as many as
            they are long.
        step: Multiplications and additions for every element of an output's window but the first.
        weighed: Whether it has weights, also where a module holds them in a buffer.
        swallowed: Whether a converted graph may have merged it into the operation before it.
        channelwise: Functions of one activation that work on every channel by itself, by ``__name__`` without
            underscores at the ends.
        binary: Those of two activations that do.
        reductions: Functions over dimensions that may be height and width.
        reshapes: Functions that may lay channels out anew.
        follows: Modules that belong to the convolution before them, where channels are scored.
        int8: What a conversion executes in integers: modules ``nn.ReLU``, functions ``F.relu``,
            ``torch.relu``, ``Tensor.relu``.
        int8_between: What it executes in integers between operations that are, since the range is known.
    """

    kind: str
    names: str
    each: tuple[int, int] | None
    step: tuple[int, int] | None = None
    weighed: bool = False
    swallowed: bool = False
    channelwise: str = ""
    binary: str = ""
    reductions: str = ""
    reshapes: str = ""
    follows: str = ""
    int8: str = ""
    int8_between: str = ""


MOVE = "copy"
"""The kind of what makes, views or copies a tensor."""

# fmt: off
_WEIGHED = (
    Operator("conv", "convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d",
        None, weighed=True, int8="nn.Conv1d nn.Conv2d nn.Conv3d torch.conv1d torch.conv2d torch.conv3d"),
    # A `matmul` with one parameter.
    Operator("linear", "", None, weighed=True, int8="nn.Linear F.linear"),
    Operator("matmul", "addmm addmv baddbmm bmm dot linear linear_dynamic matmul mm mv vdot", None,
        weighed=True, int8="torch.matmul"),
    Operator("embedding", "embedding", (0, 0), weighed=True),
)

_NORMS = (
    Operator("batch_norm",
        """
            native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
            _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm miopen_batch_norm batch_norm
            batch_norm1d batch_norm2d batch_norm3d
        """, (1, 1), swallowed=True, follows="nn.BatchNorm2d", int8="nn.BatchNorm2d nn.BatchNorm3d"),
    Operator("instance_norm", "instance_norm", (3, 4),
        int8="nn.InstanceNorm1d nn.InstanceNorm2d nn.InstanceNorm3d F.instance_norm"),
    Operator("layer_norm", "native_layer_norm layer_norm", (3, 4), int8="nn.LayerNorm F.layer_norm"),
    Operator("group_norm", "native_group_norm group_norm", (3, 4)),
    Operator("rms_norm", "_fused_rms_norm", (3, 1)),
)

_ACTIVATIONS = (
    Operator("relu", "relu", (1, 0), swallowed=True, channelwise="relu", follows="nn.ReLU",
        int8="nn.ReLU F.relu Tensor.relu Tensor.relu_"),
    Operator("clamp", "hardtanh clamp clamp_min clamp_max relu6", (2, 0), swallowed=True,
        channelwise="clamp clamp_max clamp_min clip hardtanh relu6", follows="nn.ReLU6",
        int8="nn.Hardtanh nn.ReLU6 F.relu6 F.hardtanh F.hardtanh_ torch.clamp Tensor.clamp"),
    Operator("leaky_relu", "leaky_relu", (2, 0), swallowed=True, channelwise="leaky_relu",
        int8="nn.LeakyReLU F.leaky_relu"),
    Operator("prelu", "_prelu_kernel prelu", (2, 0)),
    # A comparison, an exponential, a scale; less one.
    Operator("elu", "elu celu", (3, 1), channelwise="celu elu selu", int8="nn.ELU F.elu"),
    # x / √2, the error function, plus one; x / 2, their product.
    Operator("gelu", "gelu", (4, 1), channelwise="gelu"),
    # A `gelu` by its argument: a cube, two scales and a sum, tanh, plus one; x / 2, their product.
    Operator("gelu_tanh", "", (10, 4)),
    # log(1 + exp x), tanh, a product.
    Operator("mish", "mish", (7, 3), channelwise="mish"),
    Operator("sigmoid", "sigmoid", (2, 1), channelwise="sigmoid",
        int8_between="nn.Sigmoid F.sigmoid torch.sigmoid Tensor.sigmoid"),
    Operator("silu", "silu", (3, 1), channelwise="silu", follows="nn.SiLU"),
    # A comparison, log(1 + exp x).
    Operator("softplus", "softplus", (3, 1), channelwise="softplus"),
    Operator("tanh", "tanh", (4, 2), channelwise="tanh",
        int8_between="nn.Tanh F.tanh torch.tanh Tensor.tanh"),
    Operator("hardsigmoid", "hardsigmoid", (3, 1), swallowed=True, channelwise="hardsigmoid",
        int8_between="nn.Hardsigmoid F.hardsigmoid"),
    Operator("hardswish", "hardswish", (4, 1), swallowed=True, channelwise="hardswish",
        follows="nn.Hardswish", int8="nn.Hardswish F.hardswish"),
    Operator("softmax", "_softmax _safe_softmax softmax", (2, 1), int8_between="nn.Softmax"),
    # An exponential and its sum; less the logarithm of that.
    Operator("log_softmax", "_log_softmax", (1, 2)),
)

_NUMBERS = (
    Operator("add", "add sub rsub add_scalar", (0, 1), binary="add iadd isub radd rsub sub subtract",
        int8="torch.add Tensor.__add__ Tensor.__radd__ Tensor.__iadd__"),
    # softsign is x / (1 + |x|).
    Operator("mul", "mul div mul_scalar", (1, 0), channelwise="softsign",
        binary="div imul itruediv mul multiply rmul truediv",
        int8="torch.mul Tensor.__mul__ Tensor.__rmul__ Tensor.__imul__"),
    Operator("neg", "neg", (1, 0), channelwise="neg"),
    Operator("abs", "abs", (1, 0), channelwise="abs"),
    Operator("sign", "sign", (1, 0)),
    Operator("exp", "exp exp2 expm1", (1, 0), channelwise="exp"),
    Operator("log", "log log2 log10 log1p", (1, 0)),
    Operator("sqrt", "sqrt", (1, 0), channelwise="sqrt"),
    Operator("rsqrt", "rsqrt", (1, 0)),
    Operator("reciprocal", "reciprocal", (1, 0)),
    Operator("pow", "pow", (1, 0), channelwise="square"),
    Operator("compare", "eq ne lt le gt ge", (1, 0)),
    Operator("maximum", "maximum minimum", (1, 0)),
)

_WINDOWS = (
    Operator("avg_pool", "avg_pool1d avg_pool2d avg_pool3d", (1, 0), step=(0, 1), channelwise="avg_pool2d",
        int8="nn.AvgPool1d nn.AvgPool2d nn.AvgPool3d F.avg_pool1d F.avg_pool2d F.avg_pool3d"),
    Operator("mean", "mean _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d",
        (1, 0), step=(0, 1), channelwise="adaptive_avg_pool2d", reductions="mean",
        int8="""
            nn.AdaptiveAvgPool1d nn.AdaptiveAvgPool2d nn.AdaptiveAvgPool3d torch.mean Tensor.mean
            F.adaptive_avg_pool1d F.adaptive_avg_pool2d F.adaptive_avg_pool3d
        """),
    Operator("sum", "sum", (0, 0), step=(0, 1), reductions="sum"),
    Operator("max_pool",
        """
            max_pool1d max_pool2d max_pool2d_with_indices max_pool3d_with_indices quantized_max_pool1d
            quantized_max_pool2d quantized_max_pool3d adaptive_max_pool2d adaptive_max_pool3d
        """, (0, 0), step=(1, 0), channelwise="adaptive_max_pool2d max_pool2d",
        int8="nn.MaxPool1d nn.MaxPool2d nn.MaxPool3d F.max_pool1d F.max_pool2d F.max_pool3d"),
    Operator("amax", "amax amin max min argmax argmin", (0, 0), step=(1, 0), reductions="amax"),
    # Both functions in every mode.
    Operator("upsample_nearest",
        """
            upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
            _upsample_nearest_exact2d _upsample_nearest_exact3d
        """, (0, 0), channelwise="interpolate upsample", int8="F.interpolate"),
    Operator("upsample_linear", "upsample_linear1d", (2, 1)),
    Operator("upsample_bilinear", "upsample_bilinear2d", (4, 3)),
    Operator("upsample_trilinear", "upsample_trilinear3d", (8, 7)),
)

_MOVEMENT = (
    Operator("cat", "cat stack", (0, 0), swallowed=True, int8="torch.cat"),
    Operator("where", "where", (0, 0)),
    Operator("pad",
        """
            constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
            replication_pad2d replication_pad3d
        """, (0, 0), swallowed=True),
    Operator("quantize", "quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic", (1, 1)),
    Operator("dequantize", "dequantize", (1, 1)),
    Operator(MOVE,
        """
            _assert_async _assert_scalar _assert_tensor_metadata _conj _local_scalar_dense _neg_view
            _reshape_alias _to_copy _unsafe_view alias arange as_strided broadcast_to channel_shuffle chunk
            clone contiguous copy detach diagonal empty empty_like empty_strided expand expand_as fill flip
            full full_like gather im2col index index_select int_repr is_same_size lift_fresh masked_fill
            narrow native_dropout new_empty new_full new_ones new_zeros ones ones_like permute pixel_shuffle
            pixel_unshuffle q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point repeat
            reshape roll scalar_tensor select slice split split_with_sizes squeeze t to transpose tril triu
            unbind unflatten unfold unsafe_chunk unsafe_split unsqueeze view view_as_complex view_as_real
            zero zeros zeros_like
        """, (0, 0),
        channelwise="""
            alpha_dropout clone contiguous detach dropout dropout1d dropout2d feature_dropout float to
        """, reshapes="flatten reshape squeeze unsqueeze view"),
    # Followed, and not counted.
    Operator("uncounted", "", None, channelwise="log_sigmoid"),
)
# fmt: on

OPERATORS = (*_WEIGHED, *_NORMS, *_ACTIVATIONS, *_NUMBERS, *_WINDOWS, *_MOVEMENT)
"""All rows; each has a kind of its own."""

BY_KIND = {row.kind: row for row in OPERATORS}


def listed(names: Callable[[Operator], str]) -> frozenset[str]:
    """The names that the rows have in one of their lists."""
    return frozenset(name for row in OPERATORS for name in names(row).split())


def torchs(name: str) -> Any:
    """The function or class that is called ``torch.NAME``, ``Tensor.NAME``, ``F.NAME`` or ``nn.NAME``."""
    import torch  # not before: reading stored rows does without it

    spaces = {"torch": torch, "Tensor": torch.Tensor, "F": torch.nn.functional, "nn": torch.nn}
    space, _, attribute = name.partition(".")
    return getattr(spaces[space], attribute)
