"""The rules by which operations are scored, one entry a variant; never compare scores across variants."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from searcher.costs.counting.tensors import BLOCK
from searcher.costs.op import Op
from searcher.errors import unknown

DOT_PRODUCTS = ("conv", "linear", "matmul")


@dataclass(frozen=True)
class Reference:
    """The network to which a score is relative, counted by the variant's own rules."""

    network: str
    params: float
    ops: float


@dataclass(frozen=True)
class Score:
    """A network's score under a variant.

    Attributes:
        variant: The variant's name.
        params: Parameters, each charged as its share of 32 bits.
        ops: Multiplications and additions, as the variant counts them.
        value: The sum of both, each divided by the variant's reference.
        freebie: Whether nothing is quantized, so that the variant's freebie width was charged.
    """

    variant: str
    params: float
    ops: float
    value: float
    freebie: bool = field(compare=False)


@dataclass(frozen=True)
class Variant:
    """A named set of counting rules.

    Attributes:
        params: What an operation's parameters cost.
        ops: What executing an operation costs, in a network that nothing is quantized in or not, with
            an accumulator of so many bits.
        reference: The network to which a score is relative.
        freebie_bits: The width at which a network is scored in which nothing is quantized.
        accumulator_bits: The width of the additions in a dot product.
        summary: The rules in a line.
        known: Scores of networks that were published or recomputed by others, in words.
    """

    params: Callable[[Op], float]
    ops: Callable[[Op, bool, int], float]
    reference: Reference
    freebie_bits: int
    accumulator_bits: int
    summary: str
    known: Mapping[str, float]


def variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        SearcherError: No such variant.
    """
    if name not in VARIANTS:
        raise unknown("score variant", name, VARIANTS)
    return VARIANTS[name]


def score(ops: Sequence[Op], name: str, *, freebie_bits: int | None = None) -> Score:
    """Score a network's operations.

    In a network with quantized operations each is scored at the width in which it is executed. One in which
    nothing is quantized (all 32 bits) is scored at the variant's freebie width.

    Args:
        ops: The operations, from `searcher.costs.counting.executed.walk`.
        name: A key of `VARIANTS`.
        freebie_bits: Instead of the variant's freebie width; 32 scores an fp32 network as it is.

    Raises:
        SearcherError: No such variant.
    """
    rules = variant(name)
    full = all(op.bits == op.activation_bits == 32 for op in ops)
    free = rules.freebie_bits if freebie_bits is None else freebie_bits
    charged = [op.at(free) for op in ops] if full else list(ops)
    params = sum(rules.params(op) for op in charged)
    count = sum(rules.ops(op, full, rules.accumulator_bits) for op in charged)
    value = params / rules.reference.params + count / rules.reference.ops
    return Score(name, params, count, value, full)


def _nonzero_params(op: Op) -> float:
    """Zeros are free and pay no mask.

    A batch norm's parameters and a bias are charged at the width of the operation that executes them, though
    they are stored in fp32: that is how the published int8 scores were counted.
    """
    return (op.nonzero + op.biases) * op.bits / 32


def _imt_2022_ops(op: Op, free: bool, accumulator: int) -> float:
    """Multiplications at the weights' width, additions and norms (3 an input element) at the accumulator's.

    The published counter knew one width a layer; where activations are wider, `imt-2025` charges theirs.
    Zeros do not reduce them. A convolution's K covers all input channels and is divided by the groups
    after its K − 1 additions are counted; a linear layer's bias is not counted. The published counter has no
    transposed convolution: of one, the products that are executed are counted, and an addition less than
    those for every output, but for its bias. A product of two activations is counted as a linear layer;
    pooling, activations, additions and concatenation are free.
    """
    if op.kind.endswith("_norm"):
        return 3 * math.prod(op.inputs[0])
    if op.kind not in DOT_PRODUCTS:
        return 0
    a = op.arithmetic
    if a.transposed:
        return a.macs * op.bits / 32 + a.adds * accumulator / 32
    dot = a.dot_length * op.bits / 32 + (a.dot_length - 1) * accumulator / 32
    if op.kind == "conv":
        return math.prod(op.output) * (dot / a.groups + a.bias)
    return math.prod(op.output) * dot


def _imt_2025_ops(op: Op, free: bool, accumulator: int) -> float:
    """Multiply-accumulates at the wider of weight and activation; zeros do not reduce them."""
    return op.macs * max(op.bits, op.activation_bits) / 32


def _micronet_2019_params(op: Op) -> float:
    """Every tensor in its cheapest form: dense, or with a mask of one bit an element, or one a 4×4 block.

    Biases and batch norms are charged as they are stored. A batch norm that the layer before could hold
    leaves a bias there.
    """
    biases = op.fold_bias if op.folds_into else op.biases
    return (_stored_bits(op) + biases * op.bias_bits) / 32


def _stored_bits(op: Op) -> float:
    bits = op.effective_bits or op.bits
    forms = [op.weights * bits, op.weights + op.nonzero * bits]
    if op.blocks:
        held, every = op.blocks
        forms.append(every + held * BLOCK**2 * bits)
    return min(forms)


def _micronet_2019_ops(op: Op, free: bool, accumulator: int) -> float:
    """Multiplications and additions, each at its widest input; zeros reduce both.

    The additions of a dot product, and in a network that is not quantized all of them, are charged at the
    accumulator's width. Batch norms fold where they can, and cost the addition of a bias then; one that does
    not multiplies by a scale in the width in which that is stored.
    """
    if op.folds_into:
        return math.prod(op.output) * accumulator / 32 if op.fold_adds or op.fold_bias else 0
    zeros = round(op.macs * (1 - op.density))
    wide = accumulator if free or op.kind in DOT_PRODUCTS else op.activation_bits
    scale = op.bias_bits if op.kind.endswith("_norm") else 0
    multiplies = (op.arithmetic.multiplies - zeros) * max(scale, op.effective_bits or 0, op.activation_bits)
    return (multiplies + _additions(op, zeros) * wide) / 32


def _additions(op: Op, zeros: int) -> int:
    """The additions of dot products with m non-zeros on average: m − 1 each, none less than 0, and a bias."""
    if op.kind not in DOT_PRODUCTS:
        return op.arithmetic.adds
    outputs = math.prod(op.output)
    return max(op.macs - zeros - outputs, 0) + outputs * op.arithmetic.bias


_MICRONET_2019 = Variant(
    params=_micronet_2019_params,
    ops=_micronet_2019_ops,
    reference=Reference("WRN-28-10 on CIFAR-100", 36.5e6, 10.49e9),
    freebie_bits=16,
    accumulator_bits=32,
    summary="each weight tensor dense or masked, multiplications at their widest input, batch norms folded",
    known={"0.09853e6 parameters and 85.27e6 operations": 0.01083},
)

VARIANTS = {
    "imt-2022": Variant(
        params=_nonzero_params,
        ops=_imt_2022_ops,
        reference=Reference("ResNet-18 at 16 bits on CIFAR-10", 5_586_981, 834_362_880),
        freebie_bits=16,
        accumulator_bits=32,
        summary="zeros free, multiplications at the weights' width, batch norms charged even where folded",
        known={"ResNet-18": 2.0, "DenseNet k=3": 0.021912, "DenseNet k=4, depthwise": 0.020580},
    ),
    "imt-2025": Variant(
        params=_nonzero_params,
        ops=_imt_2025_ops,
        reference=Reference("ResNet-18 at 16 bits on CIFAR-10, about", 5.6e6, 2.8e8),
        freebie_bits=32,
        accumulator_bits=32,
        summary="zeros free in storage, MACs at the wider of weight and activation, no freebie",
        known={"ResNet-18 in half precision": 1.9895},
    ),
    "micronet-2019": _MICRONET_2019,
    "micronet-2019-imagenet": replace(
        _MICRONET_2019,
        reference=Reference("MobileNetV2-1.4 on ImageNet", 6.9e6, 1170e6),
        # Published as 0.8936: its residual additions were counted over the six times wider channels inside.
        known={"3e6 parameters and 500e6 operations": 0.862, "EfficientNet-B0": 0.8927},
    ),
    "micronet-2019-wikitext": replace(
        _MICRONET_2019,
        reference=Reference("language model on WikiText-103", 159e6, 318e6),
        known={"159e6 parameters and 318e6 operations": 2.0},
    ),
}
"""Score variants by name; `tests/known_answers/` recomputes what each says is known."""
