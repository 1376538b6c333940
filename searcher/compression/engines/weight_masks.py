"""Masks of unstructured pruning: the weights to zero, alone or in patterns that hardware can use."""

import bisect
import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from searcher.errors import TrialError, unknown

KINDS = {"all": ("Conv2d", "Linear"), "convolutions": ("Conv2d",)}
"""The types of module whose weights are zeroed, by the name of a choice of layers."""

FOUR = 4
"""The weights of a pattern that belong together: output channels in 4x1, input channels in 2:4."""

MAX_SPARSITY = 0.98
"""The most that a global threshold takes out of one layer, so that none is emptied."""

_SIDE = {"single": None, "4x1": 0, "2:4": 1}


def fits(shape: Sequence[int], pattern: str) -> bool:
    """Whether a weight (out, in / groups, ...) has the pattern's fours without a rest."""
    side = _SIDE[pattern]
    return side is None or shape[side] % FOUR == 0


def masked_weights(model: nn.Module, layers: str, pattern: str) -> dict[str, Tensor]:
    """The weights to which a pattern can be applied, by the path of their module.

    Raises:
        TrialError: There are none.
    """
    weights = {n: m.weight for n, m in model.named_modules() if type(m).__name__ in KINDS[layers]}
    found = {name: weight for name, weight in weights.items() if fits(weight.shape, pattern)}
    if not found:
        raise no_layer(layers, pattern)
    return found


def no_layer(layers: str, pattern: str) -> TrialError:
    """The error of a network to which a pattern cannot be applied."""
    what = "convolution" if layers == "convolutions" else "convolution or linear layer"
    side = {"single": "", "4x1": " with a multiple of 4 output channels"}.get(
        pattern, " with a multiple of 4 input channels"
    )
    return TrialError(f"prune weights: the network has no {what}{side}")


def weight_masks(
    model: nn.Module,
    sparsity: float,
    scope: str,
    layers: str = "all",
    pattern: str = "single",
    scores: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Masks that zero the weights of smallest magnitude, or of the lowest scores.

    Weights that are zero already are the smallest: with a growing sparsity, what was pruned stays pruned.

    Args:
        model: The network; it is copied and stays as it is.
        sparsity: Share of the weights to zero, between 0 and 1.
        scope: ``"local"``, the same sparsity in every layer, rounded down to a weight or block; or
            ``"global"``, one threshold over all layers, of which each keeps at least 2 % (less above 96 %).
        layers: A key of `KINDS`.
        pattern: ``"single"`` weights; ``"4x1"`` blocks, by their mean; ``"2:4"``, two of each four.
        scores: Instead of magnitudes, by the path of a module, of its weight's shape.

    Returns:
        By parameter name, a tensor of the weight's shape: 1 keeps, 0 prunes.

    Raises:
        SearcherError: No such scope.
        TrialError: No layer has the pattern, or equal magnitudes leave no threshold within 0.5 points of the
            global sparsity.
    """
    if scope not in ("local", "global"):
        raise unknown("scope", scope, ("local", "global"))
    # NNI views the weights flat, which channels_last does not allow.
    net = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    weights = {name: w.detach() for name, w in masked_weights(net, layers, pattern).items()}
    judged = {name: w.abs() for name, w in weights.items()}
    if scores is not None:
        judged = _places({name: _held(w, scores[name]) for name, w in weights.items()}, judged)
    if pattern == "2:4":
        return {f"{name}.weight": two_of_four(values) for name, values in judged.items()}
    if pattern == "4x1":
        blocks = {name: values.unfold(0, FOUR, FOUR).mean(-1) for name, values in judged.items()}
        masks = _masks(net, blocks, sparsity, scope)
        return {name: mask.repeat_interleave(FOUR, 0) for name, mask in masks.items()}
    return _masks(net, judged, sparsity, scope)


def two_of_four(judged: Tensor) -> Tensor:
    """A mask that keeps the two largest of each four neighbouring input channels."""
    last = judged.movedim(1, -1)
    fours = last.reshape(-1, FOUR)
    largest = fours.topk(FOUR // 2, dim=-1).indices
    mask = torch.zeros_like(fours).scatter_(-1, largest, 1.0)
    return mask.view(last.shape).movedim(-1, 1).contiguous()


def _held(weight: Tensor, scores: Tensor) -> Tensor:
    """The scores of weights; what is zero has none, so it is the first to be zero again."""
    return scores.to(weight.device).contiguous().masked_fill(weight == 0, -torch.inf)


def _places(scores: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The places of weights in the order of all scores, from 1, as NNI goes by magnitudes.

    Of equal scores the smaller weight comes first: those of a channel that is never active are all zero.
    """
    every, size = (torch.cat([value.flatten() for value in part.values()]) for part in (scores, sizes))
    order = size.argsort(stable=True)
    order = order[every[order].argsort(stable=True)]
    places = torch.empty_like(every)
    places[order] = torch.arange(1, len(order) + 1, dtype=every.dtype, device=every.device)
    parts = torch.split(places, [value.numel() for value in scores.values()])
    return {name: part.view(value.shape) for (name, value), part in zip(scores.items(), parts, strict=True)}


def _masks(net: nn.Module, judged: Mapping[str, Tensor], sparsity: float, scope: str) -> dict[str, Tensor]:
    """NNI's masks of what is judged, which takes the place of the network's weights."""
    from searcher.compression.engines import nni  # a second that a dense recipe has no use for

    for name, values in judged.items():
        module = net.get_submodule(name)
        module.weight = nn.Parameter(values)
        module.register_parameter("bias", None)  # which NNI would mask as the weight's rows are
    config: dict[str, Any] = {"op_names": list(judged), "sparse_ratio": float(sparsity)}
    if scope == "global":
        cap = max(MAX_SPARSITY, (1 + sparsity) / 2)
        threshold = _threshold(judged.values(), sparsity, cap)
        config = {"op_names": list(judged), "sparse_threshold": threshold, "max_sparse_ratio": cap}
    found = nni.level_masks(net, config)
    if scope == "global":
        _check_sparsity(found, sparsity)
    return found


def _threshold(weights: Collection[Tensor], sparsity: float, cap: float) -> float:
    """The least magnitude to keep, such that the layers, none above ``cap``, meet the sparsity together."""
    ordered = torch.cat([w.abs().flatten() for w in weights]).sort().values
    target = round(len(ordered) * sparsity)
    layers = [w.abs().flatten() for w in weights]

    def pruned(index: int) -> int:
        counts = [(int((w < ordered[index]).sum()), w.numel()) for w in layers]
        return sum(int(cap * n) if count > cap * n else count for count, n in counts)

    index = bisect.bisect_left(range(len(ordered) - 1), target, key=pruned)
    positive = ordered[ordered > 0]
    return float(max(ordered[index], positive[0])) if len(positive) else 0.0


def _check_sparsity(masks: dict[str, Tensor], sparsity: float) -> None:
    total = sum(m.numel() for m in masks.values())
    reached = 1 - sum(float(m.sum()) for m in masks.values()) / total
    if abs(reached - sparsity) > max(0.005, 1 / total):
        raise TrialError(
            f"NNI was asked for a global sparsity of {sparsity:.1%} and one threshold gives {reached:.1%}: "
            "too many weights have the same magnitude"
        )
