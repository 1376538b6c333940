"""The law of channel pruning: a pruned network computes what the one before did with those channels at zero.

To remove a channel is to drop the filter that makes it, and of what reads it the inputs. So the reference
is the network before in which all that was removed is zero: filters, biases, weights and biases of norms, and
the columns of readers, since a sigmoid makes 0.5 of a channel at zero. Of the columns it is checked that what
they read in the reference is the same for every image, so that none of them read a channel that is kept.

GroupNorm and LayerNorm take the mean and the variance of the channels that are kept, in the groups that were:
their exact reference. What else mixes channels by numbers of its own (a softmax or a mean over channels, a
scale by their number) does not compute the same with fewer, and is refused.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.engines.labels import Kept
from searcher.compression.engines.refusals import refused
from searcher.errors import TrialError

TOLERANCE = 1e-4
"""The largest difference, as a share of the largest number that a module returns.

Rounding in 32 bits made at most 3e-6 of it in the shipped families, in trained networks and in hundreds of
random ones; of channels that were taken for others the least that was seen was 1e-2.
"""

_IMAGES = nn.Conv2d | nn.ConvTranspose2d
_EACH = nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d | nn.PReLU
"""Modules that have a weight for every channel and leave the channels as they are."""


def check(engine: str, model: nn.Module, small: nn.Module, kept: Kept, example: Tensor) -> None:
    """Hold a pruned network against the one before, module by module in the order of execution.

    Args:
        engine: What pruned it, as a reader knows it.
        model: The network before.
        small: The network after, in eval mode.
        kept: What was left of each tensor, from `searcher.compression.engines.labels`.
        example: An input; only its shape matters.

    Raises:
        TrialError: They differ; names the module where they first part.
    """
    with refused(engine, "prune"):
        parting = _parting(*_calls(model, small, kept, example))
    if parting:
        raise TrialError(f"{engine} cannot prune this network: prune channels: {parting}")


@dataclass(frozen=True)
class _Layer:
    """The parts of a module that are left.

    Attributes:
        rows: Those of the channels before that it returns, in its order; None where that is not known.
        unread: Of the channels that it read, those that it no longer does.
    """

    rows: Tensor | None
    unread: Tensor


@dataclass(frozen=True)
class _Call:
    """The inputs and outputs of one call of a module.

    Attributes:
        unread: Of its input what the pruned module does not read.
        returned: Of its output what the pruned module returns, or all.
    """

    name: str
    unread: Tensor
    returned: Tensor


def _calls(model: nn.Module, small: nn.Module, kept: Kept, example: Tensor) -> list[list[_Call]]:
    """The calls of the network before on two images, and of the pruned one on the first."""
    kinds = _IMAGES | _EACH | nn.Linear | nn.LayerNorm
    layers = {n: _layer(m, n, kept) for n, m in model.named_modules() if isinstance(m, kinds)}
    masked = _masked(model, kept)
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(example.shape, generator=generator, dtype=example.dtype) for _ in range(2))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        before, moved = (_run(masked, layers, image, whole=True) for image in (one, other))
        return [before, moved, _run(small, layers, one, whole=False)]


def _layer(module: Any, name: str, kept: Kept) -> _Layer:
    weight, nothing = kept.get(f"{name}.weight"), torch.empty(0, dtype=torch.long)
    if weight is None:
        mean = kept.get(f"{name}.running_mean")
        return _Layer(mean, nothing if mean is None else _missing(mean, module.num_features))
    if isinstance(module, nn.PReLU) and module.weight.numel() == 1:
        return _Layer(None, nothing)
    if isinstance(module, _EACH | nn.LayerNorm):
        return _Layer(weight.flatten(), _missing(weight, _width(module)))
    read = torch.zeros(module.weight.numel(), dtype=torch.bool)
    read[weight.flatten()] = True
    read = (
        read.view(module.weight.shape).flatten(2).any(-1)
        if module.weight.dim() > 2
        else read.view(module.weight.shape)
    )
    if isinstance(module, nn.ConvTranspose2d):
        return _Layer(kept.get(f"{name}.bias"), (~read.any(1)).nonzero().flatten())
    groups = getattr(module, "groups", 1)
    used = read.view(groups, len(read) // groups, -1).any(1).flatten()
    rows = weight.flatten(1)[:, 0] // module.weight[0].numel()
    return _Layer(rows, (~used).nonzero().flatten())


def _width(norm: Any) -> int:
    """The numbers of a weight, also of a norm that has none."""
    if isinstance(norm, nn.LayerNorm):
        return math.prod(norm.normalized_shape)
    return int(norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.weight.numel())


def _missing(positions: Tensor, count: int) -> Tensor:
    left = torch.zeros(count, dtype=torch.bool)
    left[positions.flatten()] = True
    return (~left).nonzero().flatten()


def _masked(model: nn.Module, kept: Kept) -> nn.Module:
    """The network before, with all that was removed at zero."""
    masked = copy.deepcopy(model).eval()
    tensors = {**dict(masked.named_parameters()), **dict(masked.named_buffers())}
    for name, tensor in tensors.items():
        # A variance of zero would make channels large that are zero.
        if name in kept and not name.endswith("running_var"):
            mask = torch.zeros(tensor.numel(), dtype=tensor.dtype)
            mask[kept[name].flatten()] = 1
            tensor.data.mul_(mask.view(tensor.shape))
    for name, module in masked.named_modules():
        positions = kept.get(f"{name}.weight")
        if isinstance(module, nn.GroupNorm | nn.LayerNorm) and positions is not None:
            _take_over_kept(module, positions)
    return masked


def _take_over_kept(norm: Any, positions: Tensor) -> None:
    """Let a norm take mean and variance of the kept channels alone, and return zero for the others."""
    left = torch.zeros(_width(norm))
    left[positions.flatten()] = 1
    if left.all():
        return
    grouped = isinstance(norm, nn.GroupNorm)
    sizes = left.shape if grouped else norm.normalized_shape

    def forward(x: Tensor) -> Any:
        shape = (-1, *[1] * (x.dim() - 2)) if grouped else sizes
        parted = (len(x), norm.num_groups, -1) if grouped else (*x.shape[: x.dim() - len(sizes)], -1)
        values, share = x.reshape(parted), left.view(shape).expand(x.shape).reshape(parted)
        count = share.sum(-1, keepdim=True).clamp(min=1)
        values = values - (values * share).sum(-1, keepdim=True) / count
        variance = (values.square() * share).sum(-1, keepdim=True) / count
        normal = (values * share / (variance + norm.eps).sqrt()).view(x.shape)
        if norm.weight is not None:
            normal = normal * norm.weight.view(shape)
        return normal if norm.bias is None else normal + norm.bias.view(shape)

    norm.forward = forward


def _run(net: nn.Module, layers: Mapping[str, _Layer], image: Tensor, *, whole: bool) -> list[_Call]:
    """Every call of a layer, and at last of the network itself."""
    calls: list[_Call] = []
    hooks = []
    waiting: list[Tensor] = []

    def enter(module: nn.Module, given: Any, named: Any, name: str) -> None:
        channels = _channels_last(module, next(iter([*given, *named.values()])).detach())
        waiting.append(channels[..., layers[name].unread] if whole else channels[..., :0])

    def leave(module: nn.Module, given: Any, output: Tensor, name: str) -> None:
        channels, rows = _channels_last(module, output.detach()), layers[name].rows
        # A copy: what follows may work in place.
        known = channels[..., :0] if rows is None else channels[..., rows] if whole else channels.clone()
        calls.append(_Call(name, waiting.pop(), known))

    for name, module in net.named_modules():
        if name in layers:
            hooks.append(module.register_forward_pre_hook(partial(enter, name=name), with_kwargs=True))
            hooks.append(module.register_forward_hook(partial(leave, name=name)))
    try:
        outputs = net(image)
    finally:
        for hook in hooks:
            hook.remove()
    return calls + [_Call("", torch.empty(0), tensor) for tensor in _tensors(outputs)]


def _channels_last(module: Any, x: Tensor) -> Tensor:
    """An input or output of a layer with what it has weights for in the last dimension."""
    if isinstance(module, _IMAGES):
        return x.movedim(-3, -1)
    if isinstance(module, nn.LayerNorm):
        return x.flatten(-len(module.normalized_shape))
    return x if isinstance(module, nn.Linear) else x.movedim(1, -1)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _parting(before: list[_Call], moved: list[_Call], after: list[_Call]) -> str | None:
    """The first module at which a pruned network differs from the one before; None where it does not.

    Args:
        before: The calls of the one before, with the removed channels at zero.
        moved: The same on another image.
        after: The calls of the pruned network on the first.
    """
    if [call.name for call in before] != [call.name for call in after]:
        return "it runs other modules than before"
    for old, other, new in zip(before, moved, after, strict=True):
        name = old.name or "the output"
        if _difference(old.unread, other.unread) > TOLERANCE:
            return f"{name} loses inputs that no removed channel makes"
        if old.returned.shape != new.returned.shape:
            return f"{name} has the shape {tuple(new.returned.shape)} and not {tuple(old.returned.shape)}"
        off = _difference(old.returned, new.returned)
        if not off <= TOLERANCE:
            return (
                f"{name} differs from what it was with the removed channels at zero, by {off:.1%} of its "
                "largest value"
            )
    return None


def _difference(old: Tensor, new: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    if not old.numel():
        return 0.0
    largest = torch.maximum(old.abs().max(), new.abs().max())
    return float((old - new).abs().max() / largest) if largest else 0.0
