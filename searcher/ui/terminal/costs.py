"""Tables of what a network costs, on the terminal and as CSV."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from searcher.costs.block_latency import ByBlock
from searcher.costs.latency import Inference
from searcher.costs.op import Op, missing
from searcher.costs.scores import VARIANTS, score
from searcher.wording import several

WIDE_COLUMNS = 120
"""Columns of a console from which on a table has room for sizes and kinds."""

_COLUMNS = (
    "operation",
    "kind",
    "input",
    "output",
    "weights",
    "non-zero",
    "bits",
    "multiplies",
    "adds",
    "MACs",
)
_BRIEF = ("operation", "kind", "weights", "non-zero", "bits", "MACs")
_NARROW = ("operation", "weights", "bits", "multiplies", "adds", "MACs")


@dataclass(frozen=True)
class LayerTable:
    """One row an operation, and their sum; on a narrow console without kinds and sizes."""

    ops: Sequence[Op]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = _COLUMNS if options.max_width >= WIDE_COLUMNS else _NARROW
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in names:
            left = name in ("operation", "kind")
            table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
        for op in self.ops:
            table.add_row(*(_cells(op)[name] for name in names))
        table.add_section()
        table.add_row(*(_sums(self.ops).get(name, "") for name in names))
        yield table


def heaviest(ops: Sequence[Op], most: int) -> list[tuple[str, ...]]:
    """The names of the columns, the operations with the most multiply-accumulates, and the sum of all."""
    first = sorted(ops, key=lambda op: (-op.macs, -op.params))[:most]
    rows = [tuple(_cells(op)[name] for name in _BRIEF) for op in first]
    return [_BRIEF, *rows, tuple(_sums(ops).get(name, "") for name in _BRIEF)]


def _sums(ops: Sequence[Op]) -> dict[str, str]:
    arithmetic = [op.arithmetic for op in ops]
    counts = {
        "weights": sum(op.params for op in ops),
        "non-zero": sum(op.nonzero + op.biases for op in ops),
        "multiplies": sum(a.multiplies for a in arithmetic),
        "adds": sum(a.adds for a in arithmetic),
        "MACs": sum(a.macs for a in arithmetic),
    }
    return {"operation": several(len(ops), "operation")} | {key: _count(n) for key, n in counts.items()}


def variant_table(ops: Sequence[Op]) -> Table:
    """Every score variant side by side; they are not comparable. A mark is at what does not have it all."""
    table = _table("variant", title="scores: never compare one variant's with another's")
    mark = "*" if missing(ops) else ""
    table.caption = "* at least: less what is not counted" if mark else None
    table.caption_justify = "left"
    table.columns[0].no_wrap = True
    for name in ("score", "params", "ops", "bits", "adder"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, rules in VARIANTS.items():
        result = score(ops, name)
        width = str(rules.freebie_bits) if result.freebie and rules.freebie_bits < 32 else "executed"
        counts = (_count(result.params), _count(result.ops))
        table.add_row(name, f"{result.value:.5g}{mark}", *counts, width, str(rules.accumulator_bits))
    return table


def references() -> list[str]:
    """A line for every variant: to what its scores are relative, and its rules."""
    return [f"{name}: relative to {v.reference.network}; {v.summary}" for name, v in VARIANTS.items()]


def inference_table(inference: Inference, size_mb: float) -> Table:
    """The deployment figures, and what they hold for."""
    table = _table("figure")
    table.add_column("value", overflow="fold")
    asked, machine = inference.conditions, inference.machine
    spread = f"mean {inference.mean_ms:.3f}, std {inference.std_ms:.3f}, median {inference.median_ms:.3f}"
    rows = {
        "size": f"{size_mb:.4f} MB, weights as they are executed",
        "latency": f"{spread} ms",
        "throughput": f"{inference.fps:,.1f} images/s",
        "memory": f"{inference.inference_memory_mb:.1f} MB for the model and one run of it",
        "process": f"{inference.peak_memory_mb:.1f} MB at its peak, with its libraries",
        "conditions": f"batch {asked.batch}, {asked.threads} threads, {asked.device}, "
        f"{asked.runs} runs after {asked.warmup}",
        "machine": f"{machine.processor}, {machine.cores} cores, load {machine.load:.2f}",
        "software": f"torch {machine.torch}, {machine.engine}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def block_table(found: ByBlock) -> Table:
    """Latency by block; a block that is called several times has a row for each call."""
    table = _table("block", title="latency by block")
    for column in ("call", "ms", "share"):
        table.add_column(column, justify="right")
    calls = Counter(name for name, _ in found.blocks)
    for (name, call), mean in found.blocks.items():
        number = str(call) if calls[name] > 1 else ""
        table.add_row(name or "between them", number, f"{mean:.3f}", f"{mean / found.sum_ms:.1%}")
    table.add_section()
    table.add_row("sum", "", f"{found.sum_ms:.3f}", "")
    table.add_row("the whole, not stopped between", "", f"{found.whole_ms:.3f}", "")
    return table


def frame(ops: Sequence[Op]) -> pd.DataFrame:
    """One row an operation, every field."""
    return pd.DataFrame([_record(op) for op in ops])


def _table(first: str, title: str | None = None) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    return table


def _cells(op: Op) -> dict[str, str]:
    arithmetic = {"multiplies": op.arithmetic.multiplies, "adds": op.arithmetic.adds, "MACs": op.macs}
    return {
        "operation": op.name,
        "kind": op.kind if op.swallowed_by is None else f"{op.kind}, in {op.swallowed_by}",
        "input": " ".join(map(_sizes, op.inputs)),
        "output": _sizes(op.output),
        "weights": _count(op.params) if op.params else "",
        "non-zero": _count(op.nonzero + op.biases) if op.params else "",
        "bits": _bits(op),
        **{name: _count(n) if n else "" for name, n in arithmetic.items()},
    }


def _bits(op: Op) -> str:
    """Weights and activations: ``8/8``; with the width that the codes need where it is less, ``8(4)/8``."""
    if op.weight_bits is None:
        return str(op.activation_bits)
    needed = f"({op.effective_bits})" if op.effective_bits != op.weight_bits else ""
    return f"{op.weight_bits}{needed}/{op.activation_bits}"


def _sizes(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes[1:])) if len(sizes) > 1 else "×".join(map(str, sizes))


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isclose(value, round(value)) or value > 1e4 else f"{value:,.1f}"


def _record(op: Op) -> dict[str, Any]:
    fields = asdict(op)
    arithmetic = fields.pop("arithmetic")
    fields["inputs"] = " ".join("x".join(map(str, sizes)) for sizes in op.inputs)
    fields["output"] = "x".join(map(str, op.output))
    fields["unweighed"] = "; ".join(op.unweighed)
    fields["producers"] = " ".join(map(str, op.producers))
    fields["blocks"] = "/".join(map(str, op.blocks)) if op.blocks else None
    return {**fields, **arithmetic}
