"""Layers that make a network's outputs, where a file of weights has them for another number of classes."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from searcher.costs.shapes.outline import returned


def output_layers(model: nn.Module, sizes: tuple[int, ...]) -> list[str]:
    """The names of the layers whose outputs, reshaped or not, are what a network returns for an input.

    Convolutions whose outputs are copied into what is returned are among them.
    """
    made: dict[int, str] = {}

    def seen(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            made[output.untyped_storage().data_ptr()] = name

    leaves = [(name, m) for name, m in model.named_modules() if not any(True for _ in m.children())]
    hooks = [m.register_forward_hook(lambda m, _, out, name=name: seen(name, out)) for name, m in leaves]
    was_training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs = tree_leaves(model.eval()(torch.zeros(sizes)))
        direct = [made.get(out.untyped_storage().data_ptr()) for out in outputs if isinstance(out, Tensor)]
        return list(dict.fromkeys([*filter(None, direct), *returned(model, sizes)]))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in was_training.items():
            module.training = training


def other_classes(
    state: Mapping[str, Any], model: nn.Module, outputs: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """The layers of which a file differs in the number of outputs alone.

    Args:
        state: The file's content, by the network's names.
        model: The network.
        outputs: The names of the layers that make what it returns.

    Returns:
        The numbers of outputs in the file and here, by the layer's name.
    """
    found = {name: _rows(state, model.get_submodule(name), name) for name in outputs}
    return {name: rows for name, rows in found.items() if rows}


def _rows(state: Mapping[str, Any], layer: nn.Module, name: str) -> tuple[int, int] | None:
    """The first sizes of a layer's tensors in a file and here, where they differ, in all of them alike."""
    own = {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    given = {key: state.get(key) for key in own}
    sizes = set()
    for key, tensor in given.items():
        if not isinstance(tensor, Tensor) or not tensor.dim() or tensor.shape[1:] != own[key].shape[1:]:
            return None
        sizes.add((len(tensor), len(own[key])))
    (rows,) = sizes if len(sizes) == 1 else ((0, 0),)
    return rows if rows[0] != rows[1] else None


def words(layer: str, rows: tuple[int, int], model: nn.Module) -> str:
    """A line that says which weights are not the file's."""
    what = "classes" if isinstance(model.get_submodule(layer), nn.Linear) else "outputs"
    return f"weights of {layer} are new: {rows[0]:,} {what} in the file, {rows[1]:,} here"
