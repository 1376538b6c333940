"""Run a network and write down, operator by operator, what is executed."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from searcher.costs.arithmetic import WEIGHED
from searcher.costs.counting.batch_norms import mark_folds
from searcher.costs.counting.operators import DYNAMIC, NOTHING, Call, known
from searcher.costs.counting.outside import Leaving
from searcher.costs.counting.own import Own, unused
from searcher.costs.counting.provenance import Made, Provenance, joined
from searcher.costs.counting.scope import Scope, run, without_wrappers
from searcher.costs.counting.tensors import Count, count, density, tensors_in, total, widths
from searcher.costs.op import UNCOUNTED, Op


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
    recorder = Recorder(model, scope)
    with in_parts(model), recorder, Leaving(recorder.left):
        recorder.given(example)
        returned = run(model, scope, example)
    rows = {recorder.producer(tensor) for tensor in tensors_in(returned)}
    return mark_folds(recorder.ops, rows) + recorder.unused()


@contextmanager
def in_parts(model: nn.Module) -> Iterator[None]:
    """Have attention and recurrent layers executed as products of matrices and what is between them."""
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            libraries: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
            for library in libraries:
                stack.callback(setattr, library, "enabled", library.enabled)
                library.enabled = False
        yield


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the rows of every operator that is dispatched while it is entered.

    Operators that read parameters and buffers alone (two factors of a weight, a mask) are rows too. A
    parameter is counted once, whole, in the first row that reads it or what was made of it together with an
    activation; where there is none, in the first that reads it at all. Its zeros are its own, or those that
    a computation has left of it, if they are more. A buffer is counted where it is the weight of a layer, and
    so is a tensor that is the module's own in another way; beside other operations it is told of.

    Args:
        model: The network that will run.
        scope: Tells which of its modules runs.
        ops: Where to write the rows to.
        charged: The parameters that have a row, of all the recorders that share it.
    """

    def __init__(
        self, model: nn.Module, scope: Scope, ops: list[Op] | None = None, charged: set[Any] | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops = [] if ops is None else ops
        self.scope = scope
        self._charged = set() if charged is None else charged
        self._lent: dict[Any, tuple[int, Count]] = {}
        self._provenance = Provenance(model)
        self._producers: Any = WeakIdKeyDictionary()
        self._narrow: Any = WeakIdKeyDictionary()
        self._own = Own(self._provenance)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        self._saw(Call.of(func, args, kwargs or {}, output))
        self.given(output)
        return output

    def given(self, value: Any) -> None:
        """Say which tensors are no module's own: inputs, and what was computed."""
        self._own.except_for(tensors_in(value))

    def left(self, function: str, tensor: Tensor) -> None:
        """Say that an activation's values have left torch; what comes back is not known as one."""
        if self._provenance.of(tensor) is None and (tensor.is_floating_point() or tensor.is_complex()):
            self._own.no_more()
            sizes, sources = tuple(tensor.shape), tuple(self._sources([tensor]))
            name = self.scope.name(UNCOUNTED)
            self.ops.append(Op(name, UNCOUNTED, function, (sizes,), (), NOTHING, producers=sources))

    def follow(self, tensor: Tensor, producer: int | None) -> None:
        """Say which row, by position, has written a tensor."""
        if producer is not None:
            self._producers[tensor] = producer

    def producer(self, tensor: Tensor) -> int | None:
        """The row that has written a tensor."""
        row: int | None = self._producers.get(tensor)
        return row

    def charge(self, parameter: Tensor) -> bool:
        """Take a parameter for a row that is written elsewhere; False if another row has it."""
        keys = set(self._provenance.of(parameter) or ()) - self._charged
        self._charged |= keys
        return bool(keys)

    def unused(self) -> list[Op]:
        """Rows for the parameters that no operation has used."""
        return [
            unused(without_wrappers(name), parameter)
            for key, (name, parameter) in self._provenance.parameters.items()
            if key not in self._charged
        ]

    def _saw(self, call: Call) -> None:
        if call.base == "lift_fresh":
            # A constant that the forward writes out, a list of indices say.
            self._provenance.derive(call.outputs, [])
            return
        if self.scope.saturates:
            self._saturate(call.tensors[0], call.outputs[0], float(call.arguments["max"]))
            return
        self._own.adopt(call.tensors, self.scope.stack[-1][0])
        made = [(tensor, self._provenance.of(tensor)) for tensor in call.tensors]
        held = {id(t): m for t, m in made if m is not None}
        # A number that no operation has computed is a constant.
        reads = [t for t, m in made if m is None and (t.dim() or self.producer(t) is not None)]
        if call.moves and not self._brings_together(call, held, reads):
            self._pass_on(call, held, reads)
        elif reads or held:
            self._write(call, held, reads)

    def _saturate(self, codes: Tensor, held: Tensor, largest: float) -> None:
        """Take what holds codes in a narrower range for a part of the row that has written them."""
        bits = (round(largest / codes.q_scale()) + codes.q_zero_point()).bit_length()
        self._narrow[held] = bits
        place = self.producer(codes)
        self.follow(held, place)
        if place is not None:
            row = self.ops[place]
            self.ops[place] = replace(row, output_bits=bits, bits=row.weight_bits or bits)

    def _brings_together(self, call: Call, held: dict[int, Made], reads: Sequence[Tensor]) -> bool:
        into_another = call.base == "copy" and bool(reads) and len(call.tensors) > 1
        return into_another or len(self._sources(reads)) > 1 or (bool(reads) and any(held.values()))

    def _pass_on(self, call: Call, held: dict[int, Made], reads: Sequence[Tensor]) -> None:
        sources = self._sources(reads or call.tensors)
        for output in call.outputs if len(sources) == 1 else []:
            self.follow(output, sources[0])
        self._derive(call, held, reads)

    def _derive(self, call: Call, held: dict[int, Made], reads: Sequence[Tensor]) -> None:
        if reads:
            self._provenance.forget(call.outputs)
            self.given([t._base for t in call.outputs if t._base is not None])
        elif held:
            stored = frozenset[Any]().union(*map(self._provenance.stored_in, call.tensors))
            self._provenance.derive(call.outputs, list(held.values()), stored)

    def _write(self, call: Call, held: dict[int, Made], reads: Sequence[Tensor]) -> None:
        row = self._row(call, held, reads)
        made = joined(list(held.values()))
        if not self._adds_bias_of_last(row, [t for t in call.tensors if held.get(id(t))]):
            self.ops.append(row)
        last = len(self.ops) - 1
        charged = [*self._charge_held(call), *self._charge_made(made, last, row.ahead)]
        if row.kind in WEIGHED and reads:
            charged += self._own.charge(call.tensors, held, self._charged)
        self._put(last, total(charged))
        for output in call.outputs:
            self.follow(output, last)
            # What is written into a part of a tensor is in the whole.
            self.follow(output if output._base is None else output._base, last)
        self._derive(call, held, reads)

    def _row(self, call: Call, held: dict[int, Made], reads: Sequence[Tensor]) -> Op:
        def of_parameters(tensor: Tensor) -> bool:
            return bool(held.get(id(tensor)))

        def weighs(tensor: Tensor) -> bool:
            return of_parameters(tensor) or self._own.alone(tensor, held)

        kind, arithmetic = known(call, weighs if reads else of_parameters)
        inputs = reads or call.tensors
        weighed = weighs if kind in WEIGHED and reads else of_parameters
        weights = [*call.held, *filter(weighed, call.tensors)]
        return Op(
            self.scope.name(kind),
            kind,
            call.operator,
            tuple(tuple(t.shape) for t in inputs),
            call.output,
            arithmetic,
            density=density(weights),
            producers=tuple(self._sources(inputs)),
            ahead=not reads,
            unweighed=self._own.unweighed(call.tensors, kind, held) if reads else (),
            **widths(weights, inputs, call.outputs, self._narrow, dynamic=call.base in DYNAMIC),
        )

    def _sources(self, tensors: Sequence[Tensor]) -> list[int]:
        return sorted({row for row in map(self.producer, tensors) if row is not None})

    def _charge_held(self, call: Call) -> Iterator[Count]:
        """An int8 layer holds its parameters itself."""
        for key, parts in call.packed.items():
            if key not in self._charged:
                self._charged.add(key)
                yield from (count(part) for part in parts if part is not None)

    def _charge_made(self, made: Made, row: int, ahead: bool) -> Iterator[Count]:
        for key, kept in made.items():
            if key in self._charged and (ahead or key not in self._lent):
                continue
            if key in self._lent:
                self._put(*self._lent.pop(key), sign=-1)
            counted = kept or self._provenance.count(key)
            self._charged.add(key)
            if ahead:
                self._lent[key] = (row, counted)
            yield counted

    def _put(self, row: int, counted: Count, sign: int = 1) -> None:
        op = self.ops[row]
        alone = sign > 0 and not op.weights
        self.ops[row] = replace(
            op,
            weights=op.weights + sign * counted.weights,
            nonzero=op.nonzero + sign * counted.nonzero,
            biases=op.biases + sign * counted.biases,
            blocks=counted.blocks if alone else op.blocks if not counted.weights else None,
        )

    def _adds_bias_of_last(self, row: Op, weights: Sequence[Tensor]) -> bool:
        """A linear layer on tensors that are not contiguous adds its bias in a step of its own."""
        last = len(self.ops) - 1
        if row.kind != "add" or row.producers != (last,) or [t.dim() for t in weights] != [1]:
            return False
        layer = self.ops[last]
        if (layer.kind, layer.name) != ("linear", row.name) or layer.arithmetic.bias:
            return False
        adds = layer.arithmetic.adds + row.arithmetic.adds
        self.ops[last] = replace(
            layer, bias_bits=row.bias_bits, arithmetic=replace(layer.arithmetic, adds=adds, bias=True)
        )
        return True
