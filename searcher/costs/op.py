"""A row of the walk over a network, one execution of one operation; the rows that are predicted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from searcher.costs.arithmetic import Arithmetic, Sizes
from searcher.errors import SearcherError
from searcher.files import in_one_step

UNCOUNTED = "uncounted"
"""The kind of an operation that the walk does not know."""

UNUSED = "unused"
"""The kind of a row for parameters that nothing executed has used."""


@dataclass(frozen=True)
class Op:
    """One execution of one operation: a module, a functional call or a tensor method alike.

    Attributes:
        name: The module's path, or ``<path>.<kind>()`` for what a forward calls itself.
        kind: A kind of `searcher.costs.operators_table`, `UNCOUNTED` or `UNUSED`.
        operation: The operator that was executed, e.g. ``quantized::conv2d_relu``.
        inputs: The sizes of the activations that it reads, with a batch of one.
        output: The sizes of what it writes.
        weights: Elements of weight tensors; 0 where another row has them already.
        nonzero: Those that are not zero, of a masked parameter after the mask; where they are predicted, a
            share that need not be whole.
        biases: Elements of biases and of the vectors of a normalisation; 0 where another row has them.
        density: Non-zeros among the weights that are executed, whichever row has them; 1 without weights.
        weight_bits: Width in which the weights are stored; None without weights.
        effective_bits: The smallest signed width that holds a quantized weight's codes, else `weight_bits`.
        bias_bits: Width in which the biases and the vectors of a normalisation are stored, or would be.
        activation_bits: The widest input.
        output_bits: The widest output.
        bits: The width in which it is executed: that of the weights, or of the output where it has none.
        arithmetic: Multiplications, additions, and what they are made of.
        producers: The rows, by position, whose outputs it reads.
        folds_into: The convolution or linear layer before a batch norm that could hold it.
        fold_bias: The biases that this layer would gain: none where it has its own, or another row has them.
        fold_adds: Whether this layer would add a bias that it has not.
        swallowed_by: The operation that executes this one with its own, in a converted graph.
        blocks: Of a sparse weight's matrix, the 4×4 blocks that hold a non-zero, and all of them; None
            where the weight is dense or only predicted.
        unweighed: Buffers that it reads and that are counted nowhere, in words.
        ahead: Whether it reads nothing but parameters and buffers, so that a conversion may execute it once.
    """

    name: str
    kind: str
    operation: str
    inputs: tuple[Sizes, ...]
    output: Sizes
    arithmetic: Arithmetic
    weights: int = 0
    nonzero: float = 0
    biases: int = 0
    density: float = 1.0
    weight_bits: int | None = None
    effective_bits: int | None = None
    bias_bits: int = 32
    activation_bits: int = 32
    output_bits: int = 32
    bits: int = 32
    producers: tuple[int, ...] = ()
    folds_into: str | None = None
    fold_bias: int = 0
    fold_adds: bool = False
    swallowed_by: str | None = None
    blocks: tuple[int, int] | None = None
    ahead: bool = False
    unweighed: tuple[str, ...] = ()

    @property
    def params(self) -> int:
        """Parameters, zeros included."""
        return self.weights + self.biases

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and matrix products, without the bias."""
        return self.arithmetic.macs

    def at(self, bits: int) -> "Op":
        """The operation as it would be with everything in one width."""
        stored = None if self.weight_bits is None else bits
        return replace(
            self,
            weight_bits=stored,
            effective_bits=stored,
            bias_bits=bits,
            activation_bits=bits,
            output_bits=bits,
            bits=bits,
        )


@dataclass(frozen=True)
class Prediction:
    """The predicted operations of a finished network.

    Attributes:
        ops: The rows as `counting.executed.walk` will count them; None where they are not certain.
        reason: Why they are not, or why the network was run on the meta device instead of on shapes.
    """

    ops: list[Op] | None
    reason: str = ""

    @property
    def verdict(self) -> str:
        """The extent of the prediction, in words that the reason follows."""
        if self.ops is None:
            return "cost not predicted"
        return "predicted on the meta device" if self.reason else "predicted from shapes"


_ROWS = TypeAdapter(list[Op])


def save_ops(ops: Sequence[Op], path: Path) -> None:
    """Write rows as JSON, in one step."""
    with in_one_step(path) as part:
        part.write_bytes(_ROWS.dump_json(list(ops), indent=1))


def load_ops(path: Path) -> list[Op]:
    """Read rows that were written by `save_ops`.

    Raises:
        SearcherError: The file is damaged, or of a version with other rows.
    """
    try:
        return _ROWS.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SearcherError(
            f"{path} is damaged or of another version: {where}{': ' if where else ''}{first['msg']}"
        ) from error


def not_counted(ops: Sequence[Op]) -> list[str]:
    """A line for all that no figure has, and for parameters that nothing uses, which count as parameters."""
    unused = [op.name for op in ops if op.kind == UNUSED]
    return missing(ops) + ([f"parameters that nothing uses: {', '.join(unused)}"] if unused else [])


def missing(ops: Sequence[Op]) -> list[str]:
    """A line for what no figure has: operators that the walk does not know, buffers that are no weights."""
    strangers = Counter((op.operation, op.name.rpartition(".")[0]) for op in ops if op.kind == UNCOUNTED)
    buffers = dict.fromkeys(text for op in ops for text in op.unweighed)
    lines = [
        f"{operation} in {scope or 'the network'}, {n} times" for (operation, scope), n in strangers.items()
    ]
    return lines + ([f"numbers that no parameter holds: {', '.join(buffers)}"] if buffers else [])
