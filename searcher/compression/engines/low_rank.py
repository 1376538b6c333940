"""Low-rank factorization: a convolution or a linear layer becomes a chain of smaller ones.

By singular values: a linear layer and a 1×1 convolution become two; a k×k one becomes k×1 and 1×k (Jaderberg
et al. 2014, `spatial`), or 1×1, k×k and 1×1 by Tucker-2 with the leading singular vectors of its two channel
modes (Kim et al. 2016, `tucker`). At full rank the chain computes what the layer did.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from searcher.compression.engines.refusals import refused
from searcher.errors import TrialError, unknown

ENGINE = "low rank"
"""The engine as a reader knows it."""

Layer = nn.Conv2d | nn.Linear
Rule = Callable[[Tensor], int]
"""The rank at which a matrix is factorized."""


def by_ratio(ratio: float) -> Rule:
    """That share of the full rank, and at least 1; asks for the matrix's sizes alone."""
    return lambda matrix: max(1, round(ratio * min(matrix.shape)))


def by_energy(energy: float) -> Rule:
    """The least rank that keeps that share of the squared singular values."""

    def rank(matrix: Tensor) -> int:
        kept = torch.linalg.svdvals(matrix.detach().double()).square().cumsum(0)
        return min(1 + int((kept < energy * kept[-1]).sum()), min(matrix.shape))

    return rank


def factorize(
    network: nn.Module, rule: Rule, method: str, layers: Sequence[str] = (), example: Tensor | None = None
) -> list[str]:
    """Put factors in the place of a network's layers, where those are smaller.

    They have fewer parameters, and fewer multiplications for each position of the output. Left as they are:
    grouped convolutions, layers whose weight another module has too, and subclasses of torch's layers, which
    may be run otherwise than by a call.

    Args:
        network: On the CPU, or on the meta device, where the factors have no values either.
        rule: The rank of each matrix.
        method: Of convolutions that are larger than 1×1: ``tucker`` or ``spatial``.
        layers: The paths of layers, or of what they are in; all where there is none.
        example: An input, (N, C, H, W): with it, a network that cannot be run with factors is refused.

    Returns:
        The paths of the layers that were factorized.

    Raises:
        SearcherError: The network has no module of a path.
        TrialError: No layer gets smaller, or the network cannot be run with factors.
    """
    with refused(ENGINE, "factorize"):
        made: dict[nn.Module, nn.Module] = {}
        for layer in factorizable(network, layers).values():
            factors = factorized(layer, rule, method)
            if _smaller(factors, layer):
                made[layer] = factors
        # A module may have several paths.
        paths = [path for path, module in network.named_modules(remove_duplicate=False) if module in made]
        modules = dict(network.named_modules(remove_duplicate=False))
        for path in paths:
            network.set_submodule(path, made[modules[path]])
        if not paths:
            where = f" in {', '.join(layers)}" if layers else ""
            raise TrialError(f"{ENGINE}: no layer{where} gets smaller: a lower rank is needed")
        if example is not None:
            with torch.no_grad():
                network.eval()(example)
    return paths


def factorized(layer: Layer, rule: Rule, method: str) -> nn.Sequential:
    """The factors of a layer, smaller than it or not.

    Args:
        layer: A linear layer, or a convolution without groups.
        rule: The rank of each matrix.
        method: Of convolutions that are larger than 1×1: ``tucker`` or ``spatial``.
    """
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear) or max(layer.kernel_size) == 1:
        return _pair(layer, rule(weight.flatten(1)))
    if method == "spatial":
        return _spatial(layer, rule(_rows_by_columns(weight)))
    return _tucker(layer, rule(weight.transpose(0, 1).flatten(1)), rule(weight.flatten(1)))


def factorizable(network: nn.Module, names: Sequence[str]) -> dict[str, Layer]:
    """The layers that may be factorized, by path, in the modules of these names or in all.

    Raises:
        SearcherError: The network has no module of a name.
    """
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            raise unknown("module", name, modules)
    owners = Counter(
        id(weight) for m in modules.values() if (weight := m._parameters.get("weight")) is not None
    )
    return {
        path: module
        for path, module in modules.items()
        if path
        and (type(module) is nn.Linear or (type(module) is nn.Conv2d and module.groups == 1))
        and owners[id(module.weight)] == 1
        and (not names or any(f"{path}.".startswith(f"{name}.") for name in names))
    }


def _smaller(factors: nn.Sequential, layer: Layer) -> bool:
    chain: list[Any] = list(factors)
    weights: int = sum(factor.weight.numel() for factor in chain)
    # The first factors of a strided convolution run at more positions than it has outputs.
    weight: int = layer.weight.numel()
    multiplications, positions = 0, 1
    for factor in reversed(chain):
        multiplications += factor.weight.numel() * positions
        positions *= math.prod(getattr(factor, "stride", (1,)))
    return max(weights, multiplications) < weight


def _pair(layer: Layer, rank: int) -> nn.Sequential:
    weight = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        factors = _chain(
            reduce=lambda: nn.Linear(layer.in_features, rank, bias=False),
            expand=lambda: nn.Linear(rank, layer.out_features, bias=layer.bias is not None),
        )
    else:
        factors = _chain(
            reduce=lambda: nn.Conv2d(layer.in_channels, rank, 1, bias=False, **_geometry(layer)),
            expand=lambda: nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None),
        )

    def values() -> Iterable[Tensor]:
        left, right = _halves(weight.flatten(1), rank)
        return right, left

    return _filled(factors, layer, values)


def _spatial(layer: nn.Conv2d, rank: int) -> nn.Sequential:
    weight = layer.weight.detach()
    (height, width), biased = layer.kernel_size, layer.bias is not None
    factors = _chain(
        vertical=lambda: nn.Conv2d(layer.in_channels, rank, (height, 1), bias=False, **_along(layer, 0)),
        horizontal=lambda: nn.Conv2d(rank, layer.out_channels, (1, width), bias=biased, **_along(layer, 1)),
    )

    def values() -> Iterable[Tensor]:
        left, right = _halves(_rows_by_columns(weight), rank)
        return left.T, right.view(rank, layer.out_channels, width).transpose(0, 1)

    return _filled(factors, layer, values)


def _tucker(layer: nn.Conv2d, read: int, made: int) -> nn.Sequential:
    weight = layer.weight.detach()
    factors = _chain(
        reduce=lambda: nn.Conv2d(layer.in_channels, read, 1, bias=False),
        core=lambda: nn.Conv2d(read, made, layer.kernel_size, bias=False, **_geometry(layer)),  # type: ignore[arg-type]
        expand=lambda: nn.Conv2d(made, layer.out_channels, 1, bias=layer.bias is not None),
    )

    def values() -> Iterable[Tensor]:
        whole = weight.double()
        inputs, outputs = _leading(whole.transpose(0, 1), read), _leading(whole, made)
        return inputs.T, torch.einsum("oikl,om,ir->mrkl", whole, outputs, inputs), outputs

    return _filled(factors, layer, values)


def _rows_by_columns(weight: Tensor) -> Tensor:
    """A kernel as a matrix of (inputs · height) × (outputs · width)."""
    return weight.permute(1, 2, 0, 3).flatten(2).flatten(0, 1)


def _halves(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two matrices of that rank whose product is nearest to a matrix, of equal norms."""
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def _leading(tensor: Tensor, rank: int) -> Tensor:
    """The leading left singular vectors of a tensor's first mode, a column each."""
    left: Tensor = torch.linalg.svd(tensor.flatten(1), full_matrices=False)[0]
    return left[:, :rank]


def _geometry(layer: nn.Conv2d) -> dict[str, Any]:
    names = ("stride", "padding", "dilation", "padding_mode")
    return {name: getattr(layer, name) for name in names}


def _along(layer: nn.Conv2d, axis: int) -> dict[str, Any]:
    """The geometry of a convolution along one axis; the other is left alone."""
    away = {"stride": 1, "padding": 0, "dilation": 1}

    def part(name: str, value: Any) -> Any:
        if isinstance(value, str):
            return value
        return tuple(value[axis] if place == axis else away[name] for place in (0, 1))

    return {name: part(name, value) for name, value in _geometry(layer).items()}


def _chain(**makers: Callable[[], nn.Module]) -> nn.Sequential:
    """Modules by name, without what their constructors would draw."""
    with torch.device("meta"):
        made: Mapping[str, nn.Module] = {name: make() for name, make in makers.items()}
    chain = nn.Sequential()
    for name, module in made.items():
        chain.add_module(name, module)
    return chain


def _filled(factors: nn.Sequential, layer: Layer, values: Callable[[], Iterable[Tensor]]) -> nn.Sequential:
    """The factors with their values, and the layer's bias on the last; without any on the meta device."""
    factors.train(layer.training)
    if layer.weight.is_meta:
        return factors
    factors.to_empty(device=layer.weight.device)
    chain: list[Any] = list(factors)
    with torch.no_grad():
        for factor, value in zip(chain, values(), strict=True):
            factor.weight.copy_(value.reshape(factor.weight.shape))
        if layer.bias is not None:
            chain[-1].bias.copy_(layer.bias)
    return factors
