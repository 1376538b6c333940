from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from searcher.compression.engines import weights
from searcher.compression.engines.fx import quantize
from tests.helpers.networks import executed, images, net


def dequantized(stored: dict[str, Tensor], name: str) -> Tensor:
    codes, scales = stored[name], stored[f"{name}_scale"]
    return codes * scales.reshape(-1, *[1] * (codes.dim() - 1))


def size(model: nn.Module, folder: Path) -> int:
    weights.save(model, folder / "model.safetensors")
    return (folder / "model.safetensors").stat().st_size


def test_a_float_file_is_the_tensors_and_a_header(tmp_path: Path):
    model = net("resnet20")
    held = sum(t.numel() * 4 for name, t in model.state_dict().items() if "num_batches" not in name)
    stored = size(model, tmp_path)
    header = int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little")
    assert stored == 8 + header + held
    assert weights.size_mb(model) == stored / 1e6


def test_the_int8_file_of_a_resnet20_is_at_most_0_30_of_the_float_one(tmp_path: Path):
    model = net("resnet20")
    assert size(quantize(model, [images()], {}), tmp_path) <= 0.30 * size(model, tmp_path)


@pytest.mark.parametrize("kind", ["int8", "kept out"])
def test_stored_codes_are_the_weights_that_are_executed(kind: str, tmp_path: Path):
    model = executed(kind)
    weights.save(model, tmp_path / "model.safetensors")
    stored = weights.load(tmp_path / "model.safetensors")
    quantized = {n: m for n, m in model.named_modules() if hasattr(m, "weight") and callable(m.weight)}
    assert {n for n, t in stored.items() if t.dtype == torch.int8} == {f"{n}.weight" for n in quantized}
    for name, module in quantized.items():
        assert torch.equal(dequantized(stored, f"{name}.weight"), module.weight().dequantize())
        assert stored[f"{name}.scale"].item() == pytest.approx(float(module.scale))
        if module.bias() is not None:
            assert torch.equal(stored[f"{name}.bias"], module.bias())
    assert not any(n.endswith("weight_zero_point") for n in stored)


def test_what_was_kept_out_is_stored_in_its_own_width_under_its_own_name(tmp_path: Path):
    weights.save(executed("kept out"), tmp_path / "model.safetensors")
    stored = weights.load(tmp_path / "model.safetensors")
    kept = {name: t for name, t in net().state_dict().items() if "num_batches" not in name}
    inside = {name for name in kept if name.startswith(("dense2.", "dense1.0.", "classifier."))}
    assert inside <= set(stored)
    assert not any("_inner" in name or "num_batches" in name for name in stored)
    for name in inside:
        dtype = torch.float32 if name.startswith("classifier") else torch.bfloat16
        assert torch.equal(stored[name], kept[name].to(dtype))
        assert stored[name].dtype == dtype
    assert stored["stem_input_scale_0"].dtype == torch.float32


def test_zero_points_that_are_not_zero_are_stored(tmp_path: Path):
    model, codes = nn.Module(), torch.tensor([[-4, 5], [6, 7]], dtype=torch.int8)
    model.register_buffer("weight", torch._make_per_tensor_quantized_tensor(codes, 0.5, 3))
    weights.save(model, tmp_path / "model.safetensors")
    stored = weights.load(tmp_path / "model.safetensors")
    weight = (stored["weight"] - stored["weight_zero_point"]) * stored["weight_scale"]
    assert torch.equal(weight, torch.tensor([[-3.5, 1.0], [1.5, 2.0]]))


def test_a_shared_tensor_is_stored_once(tmp_path: Path):
    model = nn.Sequential(nn.Linear(50, 50), nn.Linear(50, 50))
    apart = size(model, tmp_path)
    model[1].weight = model[0].weight
    assert apart - size(model, tmp_path) >= 50 * 50 * 4


def test_writing_replaces_the_file_in_one_step(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    path.write_text("what was there before")
    weights.save(nn.Linear(2, 2), path)
    assert set(weights.load(path)) == {"weight", "bias"}
    assert list(tmp_path.iterdir()) == [path]
