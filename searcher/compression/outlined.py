"""A network from shapes alone, as the stages of a recipe change it one after another."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from searcher.compression.resized import resize
from searcher.costs.arithmetic import Sizes
from searcher.costs.counting.recorder import record
from searcher.costs.op import Op
from searcher.costs.shapes.channels import Channels
from searcher.costs.shapes.outline import Outline, outline
from searcher.errors import first_line


class NotCertain(Exception):
    """Why a prediction might be wrong."""


class NotRun(NotCertain):
    """Why a network cannot be run without values; perhaps it cannot be run at all."""


class Outlined:
    """A model on the meta device, and its rows.

    Attributes:
        model: The model, without values. A stage that replaces modules replaces them here, and calls `trace`.
        modules: Its modules by path.
        outline: The last trace.
        ops: The rows, one an operation.
        reason: Why the network was run on the meta device instead of on shapes.
    """

    def __init__(self, model: nn.Module, sizes: Sizes) -> None:
        self.model = model
        self.reason = ""
        self._sizes = sizes
        self._kept: dict[int, int] = {}
        self.trace()

    def copy(self) -> "Outlined":
        """The same, to be changed by further stages that replace no modules."""
        return copy.copy(self)

    def trace(self) -> None:
        """Run the model on shapes, as it is now.

        Raises:
            NotRun: It cannot be run without values.
        """
        self.modules = dict(self.model.named_modules())
        self.outline = self._outline()
        self.ops: list[Op] = self.outline.ops

    def shrink(self, kept: Mapping[int, int]) -> None:
        """Trace the model with fewer channels: how many are left, by the number of their group."""
        self._kept = {**self._kept, **kept}
        self.outline = outline(self.model, self._sizes, self._kept)
        self.ops = self.outline.ops

    def settle(self) -> None:
        """Give the modules the sizes that fewer channels leave them, so that one may be replaced.

        Raises:
            NotCertain: They are not known for every module.
        """
        if not self._kept:
            return
        before = self.ops
        for op in before:
            if module := self.modules.get(op.name):
                resize(module, op)
        self._kept = {}
        self.trace()
        if self.ops != before:
            raise NotCertain("the sizes of its modules after pruning are not told by its rows")

    def widths(self) -> dict[str, int]:
        """The output channels of all convolutions but those returned, also of those that are not executed."""
        executed = {op.name: op.output[1] for op in self.ops if op.kind == "conv"}
        kept = self.outline.returned
        convolutions = ((n, m) for n, m in self.modules.items() if isinstance(m, nn.Conv2d) and n not in kept)
        return {name: executed.get(name, module.out_channels) for name, module in convolutions}

    def made_by(self, weights: Iterable[int]) -> list[str]:
        """The paths of the modules with these weights, by their ids."""
        owners = {id(m._parameters.get("weight")): name for name, m in self.modules.items()}
        return [owners[weight] for weight in weights]

    def _outline(self) -> Outline:
        if any(isinstance(module, nn.RNNBase) for module in self.modules.values()):
            raise NotRun("a recurrent layer runs other operators on the meta device")
        try:
            return outline(self.model, self._sizes, self._kept or None)
        except Exception as error:
            self.reason = f"its forward does not take shapes for tensors: {first_line(error)}"
        try:
            ops = record(self.model, torch.empty(self._sizes, device="meta"))
        except Exception as error:
            raise NotRun(f"its forward does not run without values: {first_line(error)}") from error
        return Outline(ops, Channels(lost=self.reason), {})
