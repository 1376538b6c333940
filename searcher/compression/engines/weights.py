"""A deployed network's tensors as one safetensors file: the only module that uses `safetensors`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load as deserialize
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn

from searcher.costs.counting.scope import CALL, INNER, repeated_call, without_wrappers
from searcher.files import in_one_step

_PACKED = "_packed_params"
_TRAINING_ALONE = "num_batches_tracked"


def save(model: nn.Module, path: Path) -> None:
    """Write what is deployed of a network, in one step.

    Every tensor is stored in the width in which it is executed, under its module's path. A quantized
    ``weight`` is stored as its int8 codes, with float32 ``weight_scale`` (one a channel, or one) and, where
    one of them is not zero, ``weight_zero_point``: (code − zero point) · scale is the weight. A module's
    ``scale`` and ``zero_point`` are those of the activations that it writes; of its second call they are
    under ``path#2``, and so are its weight and bias where they are joined with another norm.

    Args:
        model: The network that is executed: float, or converted by `fx.convert`.
        path: The file to write; one that is there is replaced.
    """
    with in_one_step(path) as part:
        part.write_bytes(serialize(deployed(model)))


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `save` has written, by name."""
    return load_file(path)


def pack(state: dict[str, Tensor]) -> bytes:
    """A whole state dict, with what only a training needs, as the bytes of a safetensors file."""
    # A tensor that has two names is written twice; it is shared again in the model that loads it.
    return serialize({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()})


def unpack(content: bytes) -> dict[str, Tensor]:
    """The tensors that `pack` was given."""
    return deserialize(content)


def size_mb(model: nn.Module) -> float:
    """The size of the file that `save` would write, in megabytes of 10^6 bytes."""
    return len(serialize(deployed(model))) / 1e6


def deployed(model: nn.Module) -> dict[str, Tensor]:
    """The tensors by name; one that several names share is stored once, under the first."""
    state = model.state_dict()
    found: dict[str, Tensor] = {}
    places = set()
    tensors = dict(_unpacked(state))
    for name, tensor in tensors.items():
        if name.endswith(_TRAINING_ALONE) or _stored_before(name, tensors):
            continue
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if place not in places or not tensor.numel():
            places.add(place)
            found |= _stored(name, tensor.detach().cpu())
    return found


def _unpacked(state: dict[str, object]) -> Iterator[tuple[str, Tensor]]:
    """The entries of a state dict that are tensors; a quantized linear layer packs its weight and bias."""
    for name, value in state.items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, tuple) and name.endswith(f".{_PACKED}.{_PACKED}"):
            module = name.removesuffix(f".{_PACKED}.{_PACKED}")
            for part, tensor in zip(("weight", "bias"), value, strict=True):
                if tensor is not None:
                    yield f"{module}.{part}", tensor


def _stored_before(path: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a tensor of a further call of a module is that of the first; scales of outputs never are."""
    call, part = repeated_call(path), path.rpartition(".")[2]
    first = tensors.get(path.replace(f"{CALL}{call}.", f"{INNER}.")) if call else None
    if first is None or part in ("scale", "zero_point"):
        return False
    one, other = (x.dequantize() if x.is_quantized else x for x in (first, tensors[path]))
    return torch.equal(one, other)


def _stored(path: str, tensor: Tensor) -> dict[str, Tensor]:
    """A tensor by its name in the file; of a further call of a module under a name of the call."""
    name, call = without_wrappers(path), repeated_call(path)
    module, _, own = name.rpartition(".")
    if call:
        name = f"{module}#{call}.{own}"
    if not tensor.is_quantized:
        return {name: tensor.contiguous()}
    scales, zeros = _scales(tensor)
    stored = {name: tensor.int_repr().contiguous(), f"{name}_scale": scales.float()}
    return stored | ({f"{name}_zero_point": zeros} if zeros.any() else {})


def _scales(tensor: Tensor) -> tuple[Tensor, Tensor]:
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return torch.tensor(tensor.q_scale()), torch.tensor(tensor.q_zero_point())
    return tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
