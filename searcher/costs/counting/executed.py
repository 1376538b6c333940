"""One walk over a network: what its operations are, and in how many bits each is executed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from searcher.config.stages.int8 import Int8
from searcher.costs.arithmetic import SWALLOWED
from searcher.costs.counting.operators import NOTHING
from searcher.costs.counting.recorder import record
from searcher.costs.op import UNUSED, Op
from searcher.errors import TrialError

CODE_BITS = "code_bits"
"""The attribute of a layer in floating point whose weights take no more values than codes of so many bits."""

CODES = "codes"
"""The key, in what is known of an int8 graph, of the stage that has chosen its codes."""


def walk(architecture: nn.Module, executed: nn.Module, example: Tensor) -> list[Op]:
    """The operations of the architecture in order of execution, with the widths that are executed.

    A module called twice gives two rows; its parameters are in the first. What was folded away has the
    width of the operation that has swallowed it; what reads parameters alone and was computed before, once,
    is a row without arithmetic. Weights and zeros are the architecture's.

    Args:
        architecture: The network in floating point, as it is before conversion (pruned, say).
        executed: What runs: the converted network, or the architecture itself.
        example: Images (N, C, H, W), of which the first is used.

    Raises:
        TrialError: An operation for which no executed width is found; names it.
    """
    ops = record(architecture, example[:1])
    if executed is architecture:
        return ops
    places = _Places(_coded(_narrowed(record(executed, example[:1]), executed), executed), ops)
    merged: list[Op] = []
    for key, op in keyed(ops):
        twin = places.find(key, op)
        merged.append(_as_executed(op, twin) if twin else _swallowed(op, merged))
    return merged


def _narrowed(ops: Sequence[Op], executed: nn.Module) -> list[Op]:
    """The rows of an int8 graph with the widths of weights whose codes have less than 8 bits."""
    asked: Int8 | None = getattr(executed, "meta", {}).get(CODES)
    return [_narrow(op, asked.widths(op.name).weights) for op in ops] if asked else [*ops]


def _narrow(op: Op, bits: int) -> Op:
    """A row with so many bits of weights, where those are codes of less than 8.

    Raises:
        TrialError: They need more.
    """
    if op.weight_bits != 8 or bits == 8:
        return op
    needed = op.effective_bits or 8
    if needed > bits:
        raise TrialError(f"{op.name}: its weights were to be codes of {bits} bits, and take {needed}")
    return replace(op, weight_bits=bits, effective_bits=bits, bits=bits)


def _coded(ops: Sequence[Op], executed: nn.Module) -> list[Op]:
    """The rows with the widths of floating-point weights that take no more values than codes would."""
    widths = {name: bits for name, m in executed.named_modules() if (bits := getattr(m, CODE_BITS, None))}
    for name, bits in widths.items():
        values = len(torch.unique(executed.get_parameter(f"{name}.weight")))
        if values >= 2**bits:
            raise TrialError(f"{name}: its weights were to be codes of {bits} bits, and have {values} values")
    return [
        replace(op, weight_bits=bits, effective_bits=bits, bits=bits)
        if op.weight_bits and (bits := widths.get(op.name))
        else op
        for op in ops
    ]


class _Places:
    """The place in the executed graph of each operation of the architecture, asked in their order.

    Modules are found by their path, functional calls and modules that run several times by the operations
    whose outputs they read: a conversion merges nodes, and neither their numbers nor their scopes last.
    """

    def __init__(self, rows: Sequence[Op], architecture: Sequence[Op]) -> None:
        self.rows = rows
        self.repeated = {name for side in (rows, architecture) for (name, _, n), _ in keyed(side) if n}
        self.sources = [frozenset(self._behind_casts(row)) for row in rows]
        self.by_key = {key: i for i, (key, _) in enumerate(keyed(rows))}
        self.free = set(range(len(rows)))
        self.places: list[int | None] = []

    def find(self, key: tuple[str, str, int], op: Op) -> Op | None:
        """The row that executes the next operation; None where another has swallowed it."""
        reads = frozenset(self.places[producer] for producer in op.producers)
        place = self._reading(op, reads) if self._many(op) else self.by_key.get(key)
        if place is None:
            self.places.append(self.places[op.producers[0]] if op.producers else None)
            return None
        self.free.discard(place)
        self.places.append(place)
        return self.rows[place]

    def _many(self, op: Op) -> bool:
        return op.name.endswith(")") or op.name in self.repeated

    def _reading(self, op: Op, reads: frozenset[int | None]) -> int | None:
        """The first of a kind that reads the outputs of these rows, of the same name if there is one."""
        same = [i for i in sorted(self.free) if (self.rows[i].kind, self.sources[i]) == (op.kind, reads)]
        return next((i for i in same if self.rows[i].name == op.name), next(iter(same), None))

    def _behind_casts(self, row: Op) -> Iterator[int]:
        for producer in row.producers:
            if self.rows[producer].kind in ("quantize", "dequantize"):
                yield from self._behind_casts(self.rows[producer])
            else:
                yield producer


def keyed(ops: Sequence[Op]) -> Iterator[tuple[tuple[str, str, int], Op]]:
    """Rows with a key of their own: name, kind and how often that was before."""
    seen: Counter[tuple[str, str]] = Counter()
    for op in ops:
        yield (op.name, op.kind, seen[op.name, op.kind]), op
        seen[op.name, op.kind] += 1


def _as_executed(op: Op, twin: Op) -> Op:
    return replace(
        op,
        operation=twin.operation,
        weight_bits=twin.weight_bits,
        effective_bits=twin.effective_bits,
        bias_bits=twin.bias_bits,
        activation_bits=twin.activation_bits,
        output_bits=twin.output_bits,
        bits=twin.bits,
    )


def _swallowed(op: Op, before: Sequence[Op]) -> Op:
    if op.kind == UNUSED:
        return op
    if op.ahead:
        return replace(op, arithmetic=NOTHING)
    if op.kind not in SWALLOWED or not op.producers:
        raise TrialError(f"{op.name}: no operation of that name is executed, and none has swallowed it")
    by = before[op.producers[0]]
    executed = _as_executed(op, by)
    return replace(
        executed,
        weight_bits=None,
        effective_bits=None,
        activation_bits=by.output_bits,
        swallowed_by=by.swallowed_by or by.name,
    )
