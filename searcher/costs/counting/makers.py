"""The convolutions whose channels reach a network's outputs, told by running it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from searcher.costs.arithmetic import Sizes
from searcher.costs.counting.tensors import tensors_in
from searcher.errors import TrialError

_CONVOLUTIONS = {f"conv{kind}{n}d" for kind in ("", "_transpose") for n in (1, 2, 3)}
_REMADE = _CONVOLUTIONS | {"bilinear", "embedding", "linear", "multi_head_attention_forward"}
"""Functions whose outputs have channels of their own, whatever those of their inputs are."""


def makers(model: nn.Module, sizes: Sizes) -> tuple[str, ...]:
    """The names of the convolutions that no other layer stands between and the outputs.

    Unlike shapes, which stop where a forward asks for values, this needs no function to be known: whatever is
    not made by another layer is thought to have the channels of all that it is computed from.

    Args:
        model: The network, which is run once, on random numbers, and stays as it is.
        sizes: Those of the input.

    Raises:
        TrialError: It does not run.
    """
    training = [module for module in model.modules() if module.training]
    followed = _Followed(model)
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), followed:
            torch.manual_seed(0)
            outputs = model(torch.randn(sizes))
    except Exception as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise TrialError(f"prune channels: the network does not run on {tuple(sizes)}: {said}") from error
    finally:
        for module in training:
            module.training = True
    found = set().union(*(followed.made(x) for x in tensors_in(outputs)))
    return tuple(name for name, _ in model.named_modules() if name in found)


class _Followed(TorchFunctionMode):
    """Remembers of every tensor which convolutions it may have its channels from."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.layers = {
            id(module._parameters.get("weight")): (name, module)
            for name, module in model.named_modules()
            if isinstance(module, nn.Conv2d)
        }
        self.makers: dict[int, frozenset[str]] = {}
        self.seen: list[Tensor] = []

    def made(self, x: Tensor) -> frozenset[str]:
        """The convolutions that a tensor, or what it is a view of, may have its channels from."""
        return self.makers.get(id(x), frozenset()) | self.makers.get(id(x._base), frozenset())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and remember its outputs."""
        output = func(*args, **(kwargs or {}))
        inputs = list(tensors_in([args, kwargs or {}]))
        made = self._made(getattr(func, "__name__", ""), inputs)
        # What returns nothing works in place.
        for x in tensors_in(output) if output is not None else inputs[:1]:
            self._remember(x, made)
            if x._base is not None:
                self._remember(x._base, made | self.made(x._base))
        return output

    def _remember(self, x: Tensor, made: frozenset[str]) -> None:
        self.makers[id(x)] = made
        self.seen.append(x)  # an id is a tensor's own only while it lives

    def _made(self, name: str, inputs: list[Tensor]) -> frozenset[str]:
        before = frozenset[str]().union(*(self.made(x) for x in inputs))
        if name not in _REMADE:
            return before
        for x in inputs:
            layer, module = self.layers.get(id(x), ("", None))
            if module is not None:
                passed = module.groups == module.in_channels == module.out_channels
                return frozenset((layer,)) | (before if passed else frozenset())
        return frozenset()
