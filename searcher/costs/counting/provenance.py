"""The sources of a running network's tensors: parameters alone, or activations too."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from searcher.costs.counting.scope import without_wrappers
from searcher.costs.counting.tensors import Count, count, numbers

Made = Mapping[Any, Count | None]
"""The parameters, by key, that a tensor is made of; none for buffers alone. Beside each its elements, where
a computation has left fewer non-zeros of it (a mask), or None where it counts as it is."""


class Provenance:
    """Follows parameters, buffers, and what is computed of them alone.

    Tensors are told by their identity, and parameters by their memory too, which a view shares. Nothing that
    is followed is kept alive.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters: dict[Any, tuple[str, Tensor]] = {}
        self._places: dict[Any, list[tuple[Any, Tensor]]] = {}
        self.stored = {storage(b): (without_wrappers(name), b) for name, b in model.named_buffers()}
        self._made: Any = WeakIdKeyDictionary()
        self._holds: Any = WeakIdKeyDictionary()
        for name, parameter in model.named_parameters():
            self._add(name, parameter)

    def of(self, tensor: Tensor) -> Made | None:
        """A tensor's sources; None if it depends on an activation, or on nothing known."""
        made: Made | None = self._made.get(tensor)
        if made is not None:
            return made
        place = storage(tensor)
        if place in self._places:
            here = self._places[place]
            return {key: None for key, p in here if len(here) == 1 or _overlap(p, tensor)}
        return {} if place in self.stored else None

    def stored_in(self, tensor: Tensor) -> frozenset[Any]:
        """The buffers of real or complex numbers, by key, that a tensor is made of."""
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return frozenset()
        place = storage(tensor)
        found: frozenset[Any] = self._holds.get(tensor, frozenset((place,)) & self.stored.keys())
        return found

    def words(self, tensor: Tensor) -> list[str]:
        """The buffers that a tensor is made of, with how many numbers each holds, but single numbers."""
        here = [self.stored[key] for key in self.stored_in(tensor)]
        return sorted(f"{name} ({numbers(held):,})" for name, held in here if numbers(held) > 1)

    def adopt(self, tensor: Tensor, name: str) -> None:
        """Take a tensor that a module holds as neither parameter nor buffer for a buffer."""
        self.stored[storage(tensor)] = (name, tensor)

    def count(self, key: Any) -> Count:
        """The elements of a whole parameter, or of a buffer."""
        return count((self.parameters.get(key) or self.stored[key])[1])

    def derive(
        self, outputs: Iterable[Tensor], sources: Sequence[Made], stored: frozenset[Any] = frozenset()
    ) -> None:
        """Follow what was computed of parameters and buffers alone, or of nothing."""
        together = joined(sources)
        for output in outputs:
            if storage(output) not in self._places.keys() | self.stored.keys():
                made = {key: self._masked(key, before, output) for key, before in together.items()}
                self._made[output] = made
                self._holds[output] = stored

    def forget(self, outputs: Iterable[Tensor]) -> None:
        """These hold activations now, even where they are written into a parameter or a buffer."""
        for output in outputs:
            self._made.pop(output, None)
            self._made.pop(output if output._base is None else output._base, None)
            self._places.pop(storage(output), None)
            self.stored.pop(storage(output), None)
            self._holds.pop(output, None)

    def _add(self, name: str, parameter: Tensor) -> None:
        place = storage(parameter)
        here = self._places.setdefault(place, [])
        spans = [(p.storage_offset(), p.numel()) for _, p in here]
        if (parameter.storage_offset(), parameter.numel()) not in spans:
            key = (place, parameter.storage_offset()) if here else place
            here.append((key, parameter))
            self.parameters[key] = (name, parameter)

    def _masked(self, key: Any, before: Count | None, output: Tensor) -> Count | None:
        """The elements of a parameter after a computation that keeps their number."""
        parameter = self.parameters[key][1]
        if parameter.dim() <= 1 or output.dim() <= 1 or numbers(output) != numbers(parameter):
            return before
        now = count(output)
        return now if now.nonzero < (before or count(parameter)).nonzero else before


def joined(sources: Sequence[Made]) -> dict[Any, Count | None]:
    """All the parameters; one that is whole in one of several tensors counts as whole."""
    together: dict[Any, Count | None] = {}
    for key, kept in (item for made in sources for item in made.items()):
        other = together.get(key, kept)
        together[key] = max(kept, other, key=lambda c: c.nonzero) if kept and other else None
    return together


def storage(tensor: Tensor) -> Any:
    """The identity that a tensor and its views share."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)


def _overlap(parameter: Tensor, tensor: Tensor) -> bool:
    first, last = tensor.storage_offset(), tensor.storage_offset() + _extent(tensor)
    return parameter.storage_offset() < last and first < parameter.storage_offset() + _extent(parameter)


def _extent(tensor: Tensor) -> int:
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in steps) if tensor.numel() else 0
