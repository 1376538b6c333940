"""Numbers of a module's own that no operation computes: in buffers, and in unused parameters."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from searcher.costs.arithmetic import WEIGHED
from searcher.costs.counting.operators import NOTHING
from searcher.costs.counting.provenance import Made, Provenance, storage
from searcher.costs.counting.tensors import Count, bits, count
from searcher.costs.op import UNUSED, Op

_OF_THEIR_OWN = ("quantize", "dequantize")
"""Kinds whose scales are no weights, as the statistics of a normalisation are none."""


class Own:
    """The tensors that a module holds as buffers, or as neither buffers nor parameters.

    As the weight of a layer such a tensor is counted as a parameter is; what reads it otherwise is told of.
    """

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance
        self._computed: Any = WeakIdKeyDictionary()
        self._closed = False

    def except_for(self, tensors: Iterable[Tensor]) -> None:
        """Tensors that are given or computed, and so no module's own."""
        self._computed.update(dict.fromkeys(tensors, True))

    def no_more(self) -> None:
        """From now on a tensor that nothing has computed may be an activation."""
        self._closed = True

    def adopt(self, tensors: Iterable[Tensor], path: str) -> None:
        """Take what nothing has computed for a buffer of the module of this path."""
        for tensor in tensors:
            if not (self._closed or tensor in self._computed or self._known(tensor)):
                self._provenance.adopt(tensor, f"a tensor of {path or 'the network'}")

    def _known(self, tensor: Tensor) -> bool:
        if not tensor.dim() or self._provenance.of(tensor) is not None:
            return True
        # `x.data` is another tensor than x, and no operation.
        return any(storage(tensor) == storage(other) for other in self._computed)

    def alone(self, tensor: Tensor, held: Mapping[int, Made]) -> bool:
        """Whether a tensor is made of the module's own numbers, and of no parameter."""
        return held.get(id(tensor)) == {} and bool(self._provenance.stored_in(tensor))

    def unweighed(self, tensors: Iterable[Tensor], kind: str, held: Mapping[int, Made]) -> tuple[str, ...]:
        """The buffers that an operation reads which is no layer, in words."""
        if kind in (*WEIGHED, *_OF_THEIR_OWN) or kind.endswith("_norm"):
            return ()
        alone = (tensor for tensor in tensors if self.alone(tensor, held))
        return tuple(dict.fromkeys(text for tensor in alone for text in self._provenance.words(tensor)))

    def charge(
        self, tensors: Sequence[Tensor], held: Mapping[int, Made], charged: set[Any]
    ) -> Iterator[Count]:
        """The elements of the buffers that are a layer's weights; those that are charged already are not."""
        alone = (tensor for tensor in tensors if self.alone(tensor, held))
        keys = frozenset[Any]().union(*map(self._provenance.stored_in, alone)) - charged
        charged |= keys
        yield from map(self._provenance.count, keys)


def unused(name: str, parameter: Tensor) -> Op:
    """A row for a parameter that no operation has used."""
    counted, width = count(parameter), bits(parameter)
    return Op(
        name,
        UNUSED,
        UNUSED,
        (),
        (),
        NOTHING,
        weights=counted.weights,
        nonzero=counted.nonzero,
        biases=counted.biases,
        blocks=counted.blocks,
        bits=width,
        activation_bits=width,
    )
