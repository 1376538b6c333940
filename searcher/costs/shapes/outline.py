"""A network's operations from shapes alone: its forward is called with sizes in the place of tensors."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from searcher.costs.arithmetic import Arithmetic, Sizes
from searcher.costs.counting.batch_norms import mark_folds
from searcher.costs.counting.makers import makers
from searcher.costs.counting.recorder import Recorder, in_parts
from searcher.costs.counting.scope import Scope
from searcher.costs.op import Op
from searcher.costs.shapes.channel_rules import origin
from searcher.costs.shapes.channels import Channels, Origin, whole
from searcher.costs.shapes.fast import QUICK
from searcher.costs.shapes.stand_in import Shape, shapes_in


@dataclass(frozen=True)
class Outline:
    """A network from shapes alone.

    Attributes:
        ops: The operations that it will execute, and a row for each parameter that none uses.
        channels: How its channels depend on each other.
        called: The function of torch that each operation was called by, by its position.
        returned: The names of the convolutions whose channels the network returns, and no engine removes.
    """

    ops: list[Op]
    channels: Channels
    called: Mapping[int, Any]
    returned: tuple[str, ...] = ()


def outline(model: nn.Module, sizes: Sizes, kept: Mapping[int, int] | None = None) -> Outline:
    """The operations that a network will execute, and how its channels depend on each other.

    Nothing is computed: the network has to be on the meta device. The common operations take microseconds;
    any other is run there. What torch would refuse to run is refused with torch's own error.

    Args:
        model: The network, on the meta device, in eval mode or not.
        sizes: Those of the input, (1, C, H, W) for images.
        kept: After structured pruning, the output channels of convolutions by the id of their weight.
    """
    walker = Walker(model, kept or {})
    with in_parts(model), walker.scope.entered(model), walker.recorder:
        returned = model(Shape(walker, sizes, whole(sizes[1] if len(sizes) > 1 else 0)))
    outputs = list(shapes_in(returned))
    ops = mark_folds(walker.ops, {x.producer for x in outputs})
    walker.channels.fix(*(x.origin for x in outputs))
    names = {id(module): name for name, module in model.named_modules()}
    makers = [source for x in outputs for source, _ in x.origin.parts if isinstance(source, int)]
    return Outline(
        ops + walker.recorder.unused(),
        walker.channels,
        walker.called,
        tuple(dict.fromkeys(names[id(walker.layers[maker])] for maker in makers)),
    )


def returned(model: nn.Module, sizes: Sizes) -> tuple[str, ...]:
    """The names of the convolutions whose channels a network returns, and no engine may remove.

    Where shapes do not tell it with certainty the network is run: it may be more names then.

    Raises:
        TrialError: The network does not run.
    """
    try:
        found = outline(copy.deepcopy(model).to("meta"), sizes)
    except Exception:  # its forward wants values
        return makers(model, sizes)
    return makers(model, sizes) if found.channels.lost else found.returned


class Walker:
    """Answers the functions of torch with shapes, and writes down a row for each.

    Attributes:
        kept: The output channels of pruned convolutions, by the id of their weight.
        layers: The modules that have a weight of their own, by its id.
        channels: How the channels depend on each other.
        called: The function that each row was called by, by its position.
    """

    def __init__(self, model: nn.Module, kept: Mapping[int, int]) -> None:
        self.kept = kept
        self.scope = Scope(model)
        self.channels = Channels(lambda: self.scope.stack[-1][0] or "the network")
        self.ops: list[Op] = []
        self.recorder = Recorder(model, self.scope, self.ops)
        weights = ((m, m._parameters.get("weight")) for m in model.modules())
        self.layers = {id(weight): module for module, weight in weights if weight is not None}
        self.called: dict[int, Any] = {}
        self._run: set[int] = set()
        self._read: dict[int, Origin] = {}

    def call(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """The shapes that the function returns."""
        before = len(self.ops)
        answer = self._quickly(func, args, kwargs)
        if answer is None:
            answer = self._on_meta(func, args, kwargs)
        self.called.update(dict.fromkeys(range(before, len(self.ops)), func))
        return answer

    def _quickly(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Shape | None:
        quick = QUICK.get(func)
        try:
            return quick(self, *args, **kwargs) if quick else None
        except (AttributeError, IndexError, TypeError, ValueError):
            # Arguments by name, or of other kinds than a module gives.
            return None

    def row(
        self, kind: str, operation: str, inputs: list[Shape], sizes: Sizes, origin: Origin,
        arithmetic: Arithmetic, *, weight: Tensor | None = None, weights: int = 0, biases: int = 0,
    ) -> Shape:  # fmt: skip
        """Write a row down; it has the parameters that no other has."""
        op = Op(
            self.scope.name(kind),
            kind,
            operation,
            tuple(tuple(x.shape) for x in inputs),
            sizes,
            arithmetic,
            weights=weights,
            nonzero=weights,
            biases=biases,
            weight_bits=None if weight is None else 32,
            effective_bits=None if weight is None else 32,
            producers=tuple(sorted({x.producer for x in inputs if x.producer is not None})),
        )
        self.ops.append(op)
        return Shape(self, sizes, origin, len(self.ops) - 1)

    def new(self, parameter: Tensor | None, size: int) -> int:
        """The size of a parameter as it is after pruning, or 0 where a row has it already."""
        return size if parameter is not None and self.recorder.charge(parameter) else 0

    def runs(self, weight: Tensor, kind: type[nn.Module]) -> bool:
        """Whether the module that runs is of a kind and has this weight."""
        module = self.layers.get(id(weight))
        return isinstance(module, kind) and self.scope.paths[id(module)] == self.scope.stack[-1][0]

    def again(self, parameter: Tensor | None) -> bool:
        """Whether a layer runs that has run before."""
        before = id(parameter) in self._run
        self._run.add(id(parameter))
        return before and parameter is not None

    def reads(self, parameter: Tensor, origin: Origin) -> bool:
        """Whether a layer that reads channels has run before; it loses the same of all that it reads."""
        before = self._read.setdefault(id(parameter), origin)
        if before is not origin:
            self.channels.tie(before, origin)
        return before is not origin

    def _on_meta(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run the function on the meta device; the recorder reads the rows off what it dispatches."""
        self._check_whole(args, kwargs)
        inputs = {id(x.as_meta()): x for x in shapes_in([args, kwargs])}
        for x in inputs.values():
            self.recorder.follow(x.as_meta(), x.producer)
        output = func(*_as_meta(args), **_as_meta(kwargs))
        if output is None or (args and output is args[0]):
            # What is written into a tensor is no longer seen.
            name = getattr(func, "__name__", "a function")
            self.channels.lose(name.strip("_"), *(x.origin for x in inputs.values()))

        def shaped(value: Tensor) -> Shape:
            # What works in place returns what it was given.
            shape = inputs.get(id(value), Shape(self, tuple(value.shape), whole(0), None, value))
            shape.origin = origin(self.channels, func, args, kwargs, value)
            shape.producer = self.recorder.producer(value)
            return shape

        return tree_map_only(Tensor, shaped, output)

    def _check_whole(self, args: Any, kwargs: dict[str, Any]) -> None:
        """The engines remove channels of a convolution, so one that is run as it is cannot be followed."""
        for value in (*args, *kwargs.values()):
            if isinstance(self.layers.get(id(value)), nn.Conv2d):
                self.channels.give_up("a convolution that is not called as a module calls it")


def _as_meta(value: Any) -> Any:
    def one(x: Any) -> Tensor:
        whole_tensor: Tensor = x.as_meta() if isinstance(x, Shape) else x
        return whole_tensor if whole_tensor.is_meta else whole_tensor.to("meta")

    return tree_map_only((Shape, Tensor), one, value)
