"""The kind and the arithmetic of one dispatched operator, from its arguments."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from searcher.costs.arithmetic import (
    KINDS,
    LOOKUPS,
    MOVES,
    Arithmetic,
    Sizes,
    adaptive_read,
    convolution,
    dot_products,
    elementwise,
    reduced,
    window_of,
)
from searcher.costs.counting.tensors import tensors_in
from searcher.costs.op import UNCOUNTED

NOTHING = Arithmetic(0, 0)
DYNAMIC = frozenset(("linear_dynamic",))
"""Operators that quantize an activation themselves, with a scale of its own range."""

_ADDED_TO = frozenset(("addmm", "addmv", "baddbmm"))


@dataclass(frozen=True)
class Call:
    """One call of an operator.

    Attributes:
        operator: Its name with name space, e.g. ``quantized::conv2d_relu``.
        arguments: By their names in its schema, those that were given.
        tensors: The tensors among them, also those in lists.
        packed: The weight and bias (or None) that an int8 layer holds, by what names the layer.
        outputs: The tensors that it returns.
    """

    operator: str
    arguments: dict[str, Any]
    tensors: list[Tensor]
    packed: dict[int, list[Tensor | None]]
    outputs: list[Tensor]

    @classmethod
    def of(cls, func: Any, args: Any, kwargs: dict[str, Any], output: Any) -> "Call":
        """The arguments of `__torch_dispatch__`."""
        names = [argument.name for argument in func._schema.arguments]
        arguments = dict(zip(names, args, strict=False)) | kwargs
        outputs = list(tensors_in(output))
        return cls(func._schema.name, arguments, list(tensors_in(arguments)), dict(_packed(args)), outputs)

    @property
    def base(self) -> str:
        """The name without name space and the mark of an operation in place."""
        return self.operator.split("::")[1].rstrip("_")

    @property
    def moves(self) -> bool:
        """Whether it only makes, views or copies a tensor."""
        return self.base in MOVES

    @property
    def output(self) -> Sizes:
        """The sizes of what it returns first."""
        return tuple(self.outputs[0].shape) if self.outputs else ()

    @property
    def held(self) -> list[Tensor]:
        """The weights and biases of the int8 layers that it executes."""
        return [part for parts in self.packed.values() for part in parts if part is not None]


def kind_of(operator: str) -> tuple[str, bool]:
    """The kind of an operator, and whether it applies a ReLU to its result besides."""
    base = operator.split("::")[1].rstrip("_")
    with_relu = base not in KINDS and base.endswith("_relu") and base.removesuffix("_relu") in KINDS
    return KINDS.get(base.removesuffix("_relu") if with_relu else base, UNCOUNTED), with_relu


def known(call: Call, of_parameters: Callable[[Tensor], bool]) -> tuple[str, Arithmetic]:
    """The kind of a call and its arithmetic.

    Args:
        call: The call.
        of_parameters: Whether a tensor is a parameter or made of parameters alone.
    """
    kind, with_relu = kind_of(call.operator)
    if call.moves:
        lookup = call.base in LOOKUPS and any(map(of_parameters, call.tensors))
        return "embedding" if lookup else "copy", NOTHING
    kind = _variant(call, kind)
    arithmetic = None if any(t.is_complex() for t in call.tensors) else _arithmetic(call, kind)
    if arithmetic is None:
        return UNCOUNTED, NOTHING
    if kind == "matmul" and (call.packed or _of_one_parameter(call, of_parameters)):
        kind = "linear"
    relu = math.prod(call.output) if with_relu else 0
    return kind, replace(arithmetic, multiplies=arithmetic.multiplies + relu)


def _variant(call: Call, kind: str) -> str:
    """Operators that compute one of two things."""
    of_the_input = call.arguments.get("training") or call.arguments.get("train")
    if kind == "batch_norm" and (of_the_input or call.base == "_batch_norm_with_update"):
        return "instance_norm"
    return "gelu_tanh" if kind == "gelu" and call.arguments.get("approximate") == "tanh" else kind


def _arithmetic(call: Call, kind: str) -> Arithmetic | None:
    if kind == "conv":
        return _convolution(call)
    if kind == "matmul":
        return _matrix_product(call)
    return elementwise(kind, call.output) or _reduction(call, kind)


def _convolution(call: Call) -> Arithmetic:
    x, weight, bias, *_ = call.arguments.values()
    transposed = bool(call.arguments.get("transposed", "transpose" in call.base))
    if call.packed:
        x = call.tensors[0]
        weight, bias = next(iter(call.packed.values()))
    alone = call.output[1] // weight.shape[1] if transposed else x.shape[1] // weight.shape[1]
    return convolution(
        tuple(x.shape),
        call.output,
        tuple(weight.shape),
        groups=int(call.arguments.get("groups", alone)),
        bias=bias is not None,
        transposed=transposed,
    )


def _matrix_product(call: Call) -> Arithmetic:
    count = math.prod(call.output)
    if call.packed:
        weight, bias = next(iter(call.packed.values()))
        assert weight is not None
        return dot_products(count, int(weight.shape[1]), bias=bias is not None)
    left, _ = _operands(call)
    added = call.base in _ADDED_TO or call.arguments.get("bias") is not None
    return dot_products(count, int(left.shape[-1]), bias=added)


def _operands(call: Call) -> tuple[Tensor, Tensor]:
    first = 1 if call.base in _ADDED_TO else 0
    left, right = list(call.arguments.values())[first : first + 2]
    return left, right


def _of_one_parameter(call: Call, of_parameters: Callable[[Tensor], bool]) -> bool:
    left, right = map(of_parameters, _operands(call))
    return left != right


def _reduction(call: Call, kind: str) -> Arithmetic | None:
    if not call.tensors:
        return None
    x, count = call.tensors[0], math.prod(call.output)
    dims = next((n for n in (1, 2, 3) if f"pool{n}d" in call.base), 2)
    if "adaptive" in call.base:
        return reduced(kind, count, adaptive_read(tuple(x.shape), call.output, dims))
    if kind in ("avg_pool", "max_pool"):
        return reduced(kind, count, count * window_of(call.arguments["kernel_size"], dims))
    return reduced(kind, count, x.numel())


def _packed(args: Any) -> Iterator[tuple[int, list[Tensor | None]]]:
    """The parameters inside the objects that hold those of int8 layers."""
    for arg in args:
        if isinstance(arg, torch.ScriptObject) and hasattr(arg, "unpack"):
            parts = list(arg.unpack())
            yield hash(arg), [part if isinstance(part, Tensor) else None for part in parts]
