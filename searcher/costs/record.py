"""Run a network and write down, operator by operator, what is executed."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from searcher.costs.kinds import (
    KINDS,
    MOVES,
    Arithmetic,
    convolution,
    dot_products,
    elementwise,
    reduction,
    window_of,
)
from searcher.costs.op import UNCOUNTED, UNUSED, Op
from searcher.costs.scope import Scope, run

BLOCK = 4
NOTHING = Arithmetic(0, 0)


def record(model: nn.Module, example: Any) -> list[Op]:
    """The operations of a model in the order of execution.

    Args:
        model: Any module, in any floating-point type, or an FX graph, converted to int8 or not.
        example: Its input, a tensor (1, C, H, W) for images; on the model's device.

    Returns:
        A row an operation; views and copies are none. Operators that are not known have the kind
        `UNCOUNTED`, parameters that nothing uses a row of the kind `UNUSED`.
    """
    scope = Scope(model)
    fast_path: bool = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Attention in its parts: multiplications of matrices and a softmax.
        recorder = Recorder(model, scope)
        with sdpa_kernel(SDPBackend.MATH), recorder:
            run(model, scope, example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return mark_folds(recorder.ops) + recorder.unused()


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the rows of every operator that is dispatched while it is entered."""

    def __init__(self, model: nn.Module, scope: Scope, ops: list[Op] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops = [] if ops is None else ops
        self.scope = scope
        self._parameters = {_storage(p): name for name, p in model.named_parameters()}
        self._buffers = {_storage(b) for b in model.buffers()}
        self._charged: set[Any] = set()
        self._producers: dict[int, int] = {}
        self._alive: list[Any] = []  # an id names a tensor only as long as it lives
        self._model = model

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self._saw(func._schema.name, list(args) + list((kwargs or {}).values()), output)
        return output

    def follow(self, tensor: Tensor, producer: int | None) -> None:
        """Say which row, by position, has written a tensor."""
        if producer is not None:
            self._producers[id(tensor)] = producer

    def producer(self, tensor: Tensor) -> int | None:
        """The row that has written a tensor."""
        return self._producers.get(id(tensor))

    def unused(self) -> list[Op]:
        """Rows for the parameters that no operation has used."""
        return [
            Op(name, UNUSED, UNUSED, (), (), NOTHING, **_count([p]), bits=_bits(p), activation_bits=_bits(p))
            for name, p in self._model.named_parameters()
            if _storage(p) not in self._charged
        ]

    def _saw(self, operator: str, args: list[Any], output: Any) -> None:
        base = operator.split("::")[1].rstrip("_").removesuffix("_relu")
        outputs = _tensors(output)
        packed = [part for arg in args if isinstance(arg, torch.ScriptObject) for part in arg.unpack()]  # type: ignore[attr-defined]
        tensors = [t for arg in args for t in _tensors(arg)]
        weights = [t for t in tensors if _storage(t) in self._parameters]
        inputs = [t for t in tensors if _storage(t) not in self._parameters.keys() | self._buffers]
        sources = sorted({self._producers[id(t)] for t in inputs if id(t) in self._producers})
        self._alive += outputs
        if base in MOVES or not (inputs and outputs):
            for tensor in outputs if len(sources) == 1 and not weights else []:
                self._producers[id(tensor)] = sources[0]
            for tensor in outputs if weights else []:
                self._parameters.setdefault(_storage(tensor), self._parameters[_storage(weights[0])])
            return
        kind, arithmetic = _known(base, args, packed, inputs, weights, outputs[0])
        if operator.endswith("_relu"):
            arithmetic = replace(arithmetic, multiplies=arithmetic.multiplies + outputs[0].numel())
        new = [t for t in weights if _storage(t) not in self._charged]
        self._charged |= {_storage(t) for t in weights}
        held = [t for t in packed if isinstance(t, Tensor)]
        widths = _widths(held + weights, inputs, outputs)
        counts = _count(held + new) | {"density": _density(held + weights)}
        sizes = tuple(tuple(t.shape) for t in inputs)
        row = Op(self.scope.name(kind), kind, operator, sizes, tuple(outputs[0].shape), arithmetic)
        row = replace(row, **counts, **widths, producers=tuple(sources))
        if not self._is_bias_of_last(row):
            self.ops.append(row)
        for tensor in outputs:
            self._producers[id(tensor)] = len(self.ops) - 1

    def _is_bias_of_last(self, row: Op) -> bool:
        """A linear layer on tensors that are not contiguous adds its bias in a step of its own."""
        last = len(self.ops) - 1
        if row.kind != "add" or row.producers != (last,) or row.weights or not row.biases:
            return False
        layer = self.ops[last]
        if (layer.kind, layer.name) != ("linear", row.name):
            return False
        adds = layer.arithmetic.adds + row.arithmetic.adds
        self.ops[last] = replace(
            layer, biases=row.biases, arithmetic=replace(layer.arithmetic, adds=adds, bias=True)
        )
        return True


def mark_folds(ops: Sequence[Op]) -> list[Op]:
    """Say of each batch norm which layer could hold it: the one before, where nothing else reads that."""
    readers: dict[int, int] = {}
    for producer in itertools.chain.from_iterable(op.producers for op in ops):
        readers[producer] = readers.get(producer, 0) + 1

    def marked(op: Op) -> Op:
        if op.kind != "batch_norm" or len(op.producers) != 1:
            return op
        before = ops[op.producers[0]]
        alone = before.kind in ("conv", "linear") and readers[op.producers[0]] == 1
        bias = 0 if before.arithmetic.bias else op.biases // 2
        return replace(op, folds_into=before.name, fold_bias=bias) if alone else op

    return [marked(op) for op in ops]


def _known(
    base: str, args: list[Any], packed: list[Any], inputs: list[Tensor], weights: list[Tensor], output: Tensor
) -> tuple[str, Arithmetic]:
    """The kind of an operator and its arithmetic."""
    kind = KINDS.get(base, UNCOUNTED)
    sizes = tuple(output.shape)
    if kind == "conv":
        return kind, _convolution(args, packed, inputs[0], sizes)
    if kind == "matmul":
        return _matrix_product(base, packed, inputs, weights, output)
    if (each := elementwise(kind, sizes)) is not None:
        return kind, each
    window = window_of(args[1]) if kind in ("avg_pool", "max_pool") else inputs[0].numel() // output.numel()
    pooled = reduction(kind, sizes, window)
    return (kind, pooled) if pooled else (UNCOUNTED, NOTHING)


def _convolution(args: list[Any], packed: list[Any], x: Tensor, output: tuple[int, ...]) -> Arithmetic:
    if packed:
        weight, bias = packed
        groups, transposed = x.shape[1] // weight.shape[1], False
    else:
        weight, bias, transposed, groups = args[1], args[2], bool(args[6]), int(args[8])
    return convolution(
        tuple(x.shape),
        output,
        tuple(weight.shape),
        groups=groups,
        bias=bias is not None,
        transposed=transposed,
    )


def _matrix_product(
    base: str, packed: list[Any], inputs: list[Tensor], weights: list[Tensor], output: Tensor
) -> tuple[str, Arithmetic]:
    if packed:
        return "linear", dot_products(output.numel(), packed[0].shape[1], bias=packed[1] is not None)
    matrices = [t for t in [*inputs, *weights] if t.dim() > 1]
    bias = any(t.dim() == 1 for t in weights) or base == "baddbmm"
    length = inputs[-1 if base == "baddbmm" else 0].shape[-2 if base == "baddbmm" else -1]
    kind = "linear" if weights and len(matrices) > 1 else "matmul"
    return kind, dot_products(output.numel(), length, bias=bias)


def _widths(held: list[Tensor], inputs: list[Tensor], outputs: list[Tensor]) -> dict[str, Any]:
    matrices = [t for t in held if t.dim() > 1]
    written = max(_bits(t) for t in outputs)
    stored = max((_bits(t) for t in matrices), default=None)
    return {
        "weight_bits": stored,
        "effective_bits": max((_code_width(t) for t in matrices), default=None),
        "bias_bits": max((_bits(t) for t in held if t.dim() == 1), default=32),
        "activation_bits": max(_bits(t) for t in inputs),
        "output_bits": written,
        "bits": stored or written,
    }


def _count(tensors: Sequence[Tensor]) -> dict[str, Any]:
    matrices = [t for t in tensors if t.dim() > 1]
    weights, nonzero = sum(t.numel() for t in matrices), sum(_nonzero(t) for t in matrices)
    return {
        "weights": weights,
        "nonzero": nonzero,
        "biases": sum(t.numel() for t in tensors if t.dim() <= 1),
        "blocks": _blocks(matrices[0]) if len(matrices) == 1 and nonzero < weights else None,
    }


def _density(tensors: Sequence[Tensor]) -> float:
    matrices = [t for t in tensors if t.dim() > 1]
    total = sum(t.numel() for t in matrices)
    return sum(_nonzero(t) for t in matrices) / total if total else 1.0


def _nonzero(weight: Tensor) -> int:
    if weight.is_meta:
        return weight.numel()
    return int((weight.int_repr() if weight.is_quantized else weight).count_nonzero())


def _blocks(weight: Tensor) -> tuple[int, int]:
    """Of the weight as a matrix, a row an output: the blocks that hold a non-zero, and all of them."""
    values = weight.int_repr() if weight.is_quantized else weight
    matrix = (values.flatten(1) != 0).float()[None]
    held = nn.functional.max_pool2d(matrix, BLOCK, ceil_mode=True)
    return int(held.sum()), held.numel()


def _code_width(weight: Tensor) -> int:
    """The smallest signed width, in bits, that holds a quantized weight's codes; else that of its type."""
    if not weight.is_quantized:
        return _bits(weight)
    return int(weight.int_repr().int().abs().max()).bit_length() + 1


def _bits(tensor: Tensor) -> int:
    return tensor.dtype.itemsize * 8


def _storage(tensor: Tensor) -> Any:
    """What a tensor and its views share."""
    return tensor.untyped_storage()._cdata


def _tensors(value: Any) -> list[Tensor]:
    """Those that carry activations or weights: one without dimensions is a scale."""
    if isinstance(value, Tensor):
        return [value] if value.dim() and (value.is_quantized or value.is_floating_point()) else []
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []
