"""The structure of a network as plain data: its differences from what its family builds."""

import importlib
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

_EVERY = frozenset(vars(nn.Module()))
"""The attributes that any module has."""


class NotPlain(Exception):
    """A module that cannot be told in plain data; names it."""


def told(network: nn.Module, family: nn.Module) -> dict[str, Any]:
    """The differences of a network's structure from its family's, for `apply`, as JSON has it.

    Raises:
        NotPlain: A stage has put a module into it that is none of torch's, or has more than plain attributes.
    """
    modules = _replaced(network, family)
    before = dict(family.named_modules(remove_duplicate=False))
    attributes: dict[str, dict[str, Any]] = {}
    for name, module in network.named_modules():
        if not _inside(name, modules):
            own = _attributes(before[name])
            changed = {k: v for k, v in _attributes(module).items() if k not in own or own[k] != v}
            attributes |= {name: changed} if changed else {}
    return {"attributes": attributes, "modules": modules, "shared": _shared(network)}


def apply(network: nn.Module, about: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Give a family's network the structure that was told, with parameters and buffers of a state's sizes.

    Args:
        network: What the family builds.
        about: What `told` says; entries of earlier versions have attributes alone.
        state: By name, the tensors that the network is to hold.
    """
    for name, described in about.get("modules", {}).items():
        parent, _, key = name.rpartition(".")
        if described is None:
            del network.get_submodule(parent)._modules[key]
        else:
            network.get_submodule(parent).add_module(key, _made(described))
    for name, changed in about["attributes"].items():
        for key, value in changed.items():
            setattr(network.get_submodule(name), key, _value(value))
    shared = about["shared"] if "shared" in about else _equal(_shared(network), state)
    _size(network, state, {name: group[0] for group in shared for name in group})


def _replaced(network: nn.Module, family: nn.Module) -> dict[str, Any]:
    """By path, the modules that the family has not, in plain data; None for those that it alone has."""
    before, now = (dict(net.named_modules(remove_duplicate=False)) for net in (family, network))
    found: dict[str, Any] = {}
    for name, module in now.items():
        if not _inside(name, found) and (name not in before or _class(before[name]) != _class(module)):
            found[name] = _described(name, module)
    for name in before:
        if name not in now and not _inside(name, found):
            found[name] = None
    return found


def _inside(name: str, replaced: Mapping[str, Any]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in replaced)


def _class(module: nn.Module) -> str:
    return f"{type(module).__module__}:{type(module).__qualname__}"


def _described(name: str, module: nn.Module) -> dict[str, Any]:
    place, _, class_name = _class(module).partition(":")
    known = place.startswith("torch.nn.") and hasattr(importlib.import_module(place), class_name)
    if not known or module._non_persistent_buffers_set:
        raise NotPlain(f"{name}: {class_name} is not held")
    own = {key: value for key, value in vars(module).items() if key not in _EVERY}
    return {
        "class": _class(module),
        "attributes": {key: _plain(f"{name}.{key}", value) for key, value in own.items()},
        "parameters": {key: value is not None for key, value in module._parameters.items()},
        "buffers": {key: value is not None for key, value in module._buffers.items()},
        "children": {key: _described(f"{name}.{key}", child) for key, child in module.named_children()},
    }


def _plain(name: str, value: Any) -> Any:
    """A value as JSON has it, a tuple in a list of its own."""
    if isinstance(value, tuple | list):
        return [type(value).__name__, *(_plain(name, item) for item in value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise NotPlain(f"{name}: {value!r} is not held")


def _value(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    kind, *items = plain
    return tuple(map(_value, items)) if kind == "tuple" else list(map(_value, items))


def _made(described: Mapping[str, Any]) -> nn.Module:
    """A module of torch's, without what its constructor would draw; its tensors have no sizes yet."""
    place, _, class_name = described["class"].partition(":")
    if not place.startswith("torch.nn."):
        raise ValueError(f"{described['class']} is no module of torch's")
    kind = getattr(importlib.import_module(place), class_name)
    module: nn.Module = kind.__new__(kind)
    nn.Module.__init__(module)
    vars(module).update({key: _value(plain) for key, plain in described["attributes"].items()})
    for key, there in described["parameters"].items():
        module.register_parameter(key, nn.Parameter(torch.empty(0)) if there else None)
    for key, there in described["buffers"].items():
        module.register_buffer(key, torch.empty(0) if there else None)
    for key, child in described["children"].items():
        module.add_module(key, _made(child))
    return module


def _shared(network: nn.Module) -> list[list[str]]:
    """The names of the parameters that have several, the same ones together."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return [group for group in names.values() if len(group) > 1]


def _equal(groups: list[list[str]], state: Mapping[str, Tensor]) -> list[list[str]]:
    """The groups whose parameters are equal in a state: a stage may have made several of one."""
    return [group for group in groups if all(torch.equal(state[name], state[group[0]]) for name in group)]


def _size(network: nn.Module, state: Mapping[str, Tensor], leaders: Mapping[str, str]) -> None:
    """Put parameters and buffers of the state's sizes where others are; those of one leader are one."""
    made: dict[str, nn.Parameter] = {}
    for name, module in network.named_modules():
        dotted = f"{name}." if name else ""
        for key, parameter in module._parameters.items():
            if dotted + key not in state:
                module._parameters[key] = None
                continue
            leader, stored = leaders.get(dotted + key, dotted + key), state[dotted + key]
            trained = parameter is None or parameter.requires_grad
            made.setdefault(leader, nn.Parameter(torch.empty_like(stored), requires_grad=trained))
            module._parameters[key] = made[leader]
        for key, buffer in module._buffers.items():
            if dotted + key in state and (buffer is None or buffer.shape != state[dotted + key].shape):
                module._buffers[key] = torch.empty_like(state[dotted + key])


def _attributes(module: nn.Module) -> dict[str, Any]:
    """A module's own attributes that are plain: channels, groups, the sizes of a kernel and the like."""
    found = {}
    for key, value in vars(module).items():
        if key not in _EVERY:
            with suppress(NotPlain):
                found[key] = _plain(key, value)
    return found
