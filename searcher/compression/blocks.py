"""A network's blocks, from the tree of its modules: a few parts of it that follow each other."""

from torch import nn

from searcher.compression.engines.channel_pruning import FOLLOWING

MOST_BLOCKS = 8
"""So many blocks are told apart at most."""

BIG = 0.5
"""A part of a network with more than this share of its parameters is looked into."""

Blocks = dict[str, tuple[str, ...]]
"""The paths of the modules of each block, by its name, in the order of the network."""


def blocks(network: nn.Module) -> Blocks:
    """The children of a network that have parameters, or those of its big container; 8 at most.

    A part that holds most of the parameters is taken apart while the parts are few. Of more than 8 the
    smallest neighbours are one block, never the first and the last. A norm is in the block before it.
    """
    parts = _children(network, "")
    while len(parts) < MOST_BLOCKS and (at := _big(parts)) is not None:
        path, module = parts[at]
        parts[at : at + 1] = _children(module, f"{path}.")
    groups: list[list[Part]] = []
    for part in parts:
        if groups and isinstance(part[1], FOLLOWING):
            groups[-1].append(part)
        else:
            groups.append([part])
    while len(groups) > MOST_BLOCKS:
        at = min(range(1, len(groups) - 2), key=lambda i: _size(groups[i]) + _size(groups[i + 1]))
        groups[at : at + 2] = [groups[at] + groups[at + 1]]
    paths = [tuple(path for path, _ in group) for group in groups]
    return {_name(group): group for group in paths}


Part = tuple[str, nn.Module]


def _children(module: nn.Module, prefix: str) -> list[Part]:
    return [(f"{prefix}{name}", child) for name, child in module.named_children() if _size([("", child)])]


def _size(parts: list[Part]) -> int:
    return sum(parameter.numel() for _, module in parts for parameter in module.parameters())


def _big(parts: list[Part]) -> int | None:
    """The place of the largest part, where it is to be taken apart."""
    if not parts:
        return None
    at = max(range(len(parts)), key=lambda i: _size([parts[i]]))
    module = parts[at][1]
    inside = _children(module, "")
    # A parameter of its own, such as a position, belongs to no child.
    whole = any(True for _ in module.parameters(recurse=False))
    return at if inside and not whole and _size([parts[at]]) > BIG * _size(parts) else None


def _name(paths: tuple[str, ...]) -> str:
    """The first path, and the last name where there are several."""
    return paths[0] if len(paths) == 1 else f"{paths[0]}-{paths[-1].rpartition('.')[2]}"
