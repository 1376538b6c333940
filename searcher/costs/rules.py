"""The rules by which operations are scored, one entry a variant; never compare scores across variants."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from searcher.costs.graph import Op
from searcher.errors import unknown


@dataclass(frozen=True)
class Score:
    """A network's score under a variant.

    Attributes:
        variant: The variant's name.
        params: Parameters, each charged as its share of 32 bits.
        ops: Multiplications and additions, as the variant counts them.
        value: The sum of both, each divided by the variant's reference.
    """

    variant: str
    params: float
    ops: float
    value: float


@dataclass(frozen=True)
class Variant:
    """A named set of counting rules.

    Attributes:
        params: What an operation's parameters cost.
        ops: What executing an operation costs.
        reference_params: The reference network's parameters, counted by the same rules.
        reference_ops: The reference network's operations, counted by the same rules.
        freebie_bits: The width at which a network is scored in which nothing is quantized.
    """

    params: Callable[[Op, int], float]
    ops: Callable[[Op, int], float]
    reference_params: float
    reference_ops: float
    freebie_bits: int


def score(ops: Sequence[Op], variant: str = "imt-2022", *, freebie_bits: int | None = None) -> Score:
    """Score a network's operations.

    In a network with quantized operations each is scored at the width in which it is executed. One in which
    nothing is quantized (all 32 bits) is scored at the variant's freebie width.

    Args:
        ops: The operations, from `searcher.costs.graph.walk`.
        variant: A key of `VARIANTS`.
        freebie_bits: Instead of the variant's freebie width; 32 scores an fp32 network as it is.

    Raises:
        SearcherError: No such variant.
    """
    if variant not in VARIANTS:
        raise unknown("score variant", variant, VARIANTS)
    rules = VARIANTS[variant]
    free = rules.freebie_bits if freebie_bits is None else freebie_bits
    full = all(op.weight_bits == op.activation_bits == 32 for op in ops)
    bits = [free if full else op.weight_bits for op in ops]
    params = sum(rules.params(op, b) for op, b in zip(ops, bits, strict=True))
    count = sum(rules.ops(op, b) for op, b in zip(ops, bits, strict=True))
    return Score(variant, params, count, params / rules.reference_params + count / rules.reference_ops)


def _imt_2022_params(op: Op, bits: int) -> float:
    """Zeros are free and pay no mask.

    A batch norm's parameters and a bias are charged at the width of the operation that executes them, though
    they are stored in fp32: that is how the published int8 scores were counted.
    """
    return op.nonzero * bits / 32


def _imt_2022_ops(op: Op, bits: int) -> float:
    """Multiplications at the executed width, additions and batch norm (3 an input element) at 32 bits.

    Zeros do not reduce them. A convolution's K covers all input channels and is divided by the groups
    after its K − 1 additions are counted; a linear layer's bias is not counted.
    """
    if op.kind == "batch_norm":
        return 3 * math.prod(op.input_shape)
    dot = op.dot_length * bits / 32 + op.dot_length - 1
    if op.kind == "linear":
        return math.prod(op.output_shape) * dot
    return math.prod(op.output_shape) * (dot / op.groups + op.bias)


VARIANTS = {
    "imt-2022": Variant(
        params=_imt_2022_params,
        ops=_imt_2022_ops,
        reference_params=5_586_981,
        reference_ops=834_362_880,
        freebie_bits=16,
    ),
}
"""Score variants by name, each with known answers in `tests/known_answers/`."""
