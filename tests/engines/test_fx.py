"""int8 quantization with exclusions: every network is read back from what it executes."""

import random
import re
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import profile

from searcher.compression.engines.fx import quantize, verify
from searcher.costs.counting.executed import walk
from searcher.costs.counting.recorder import record
from searcher.errors import SearcherError, TrialError
from searcher.models import densenet, resnet20

BLOCKS = ("stem", "dense1", "trans1", "dense2", "trans2", "dense3", "trans3", "dense4", "classifier")
IMAGES = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def subsets(count: int) -> list[dict[str, int]]:
    """Random subsets of the blocks, each block at a random width."""
    rng = random.Random(0)
    picks = [rng.sample(BLOCKS, rng.randint(2, len(BLOCKS))) for _ in range(count)]
    return [{name: rng.choice((16, 32)) for name in pick} for pick in picks]


ALONE = [{name: 16 if i % 2 else 32} for i, name in enumerate(BLOCKS)]
TOGETHER = [{}, dict.fromkeys(BLOCKS, 16), dict.fromkeys(BLOCKS, 32), *subsets(6)]


def warmed(model: nn.Module) -> nn.Module:
    """Batch norms with the statistics of the images."""
    with torch.no_grad():
        for _ in range(20):
            model(IMAGES)
    return model.eval()


def grouped() -> nn.Module:
    torch.manual_seed(0)
    return warmed(densenet(growth_rate=4, blocks=(2, 2, 2, 2), groups_1x1=2, groups_3x3=2))


def depthwise() -> nn.Module:
    torch.manual_seed(0)
    return warmed(densenet(growth_rate=4, blocks=(2, 2, 2, 2), groups_1x1=2, depthwise=True))


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return warmed(resnet20())


def asked(name: str, exclude: dict[str, int]) -> int:
    return next((bits for outer, bits in exclude.items() if f"{name}.".startswith(f"{outer}.")), 8)


def check(model: nn.Module, exclude: dict[str, int], tolerance: float = 0.1) -> nn.Module:
    """Every operation in the width asked for, and an output close to the float one's."""
    converted = quantize(model, IMAGES.split(4), exclude)
    for op in walk(model, converted, IMAGES):
        if op.arithmetic.multiplies or op.arithmetic.adds:
            assert (op.name, op.bits) == (op.name, asked(op.name, exclude))
            assert (op.name, op.activation_bits) == (op.name, asked(op.name, exclude))
    with torch.no_grad():
        wanted, found = model(IMAGES), converted(IMAGES)
    assert found.dtype == torch.float32
    assert float((found - wanted).norm() / wanted.norm()) < tolerance
    return converted


@pytest.mark.parametrize("exclude", ALONE + TOGETHER, ids=str)
def test_grouped_densenet(exclude):
    check(grouped(), exclude)


@pytest.mark.parametrize("exclude", ALONE[::2] + TOGETHER[:4], ids=str)
def test_depthwise_densenet(exclude):
    check(depthwise(), exclude)


@pytest.mark.parametrize(
    "exclude", [{}, {"conv1": 16}, {"layer2": 32, "linear": 16}, {"layer3.0": 16, "bn1": 32}], ids=str
)
def test_resnet(exclude):
    check(resnet(), exclude)


def test_odd_channels_as_pruning_leaves_them():
    model = warmed(
        nn.Sequential(
            nn.Conv2d(3, 9, 3, bias=False),
            nn.BatchNorm2d(9),
            nn.ReLU(),
            nn.Conv2d(9, 15, 3, groups=3),
            nn.BatchNorm2d(15),
            nn.ReLU(),
            nn.Conv2d(15, 7, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(7, 5),
        )
    )
    for exclude in ({}, {"3": 16}, {"6": 32, "9": 16}):
        executed = {**exclude, "4": exclude["3"]} if "3" in exclude else exclude
        converted = quantize(model, [IMAGES], exclude)
        folded = {op.name: op.swallowed_by for op in walk(model, converted, IMAGES)}
        assert folded["1"] == "0"
        assert folded["4"] == (None if "4" in executed else "3")


def test_sparse_weights_stay_zero():
    model = grouped()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter[torch.rand_like(parameter) < 0.65] = 0
    converted = check(model, {"dense2": 16})
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("dense2"):
            codes = converted.get_submodule(name).weight().int_repr()
            assert not codes[module.weight == 0].any()


def test_the_profiler_sees_the_same_operations():
    model, exclude = grouped(), {"stem": 16, "dense2": 16, "trans3": 32, "classifier": 32}
    converted = quantize(model, [IMAGES], exclude)
    widths = {op.name: op.weight_bits for op in record(converted, IMAGES[:1])}
    # torch 2.11 warns where it is not said that events of several cycles are kept; there is one cycle.
    with profile(acc_events=True) as trace, torch.no_grad():
        converted(IMAGES)
    ran = Counter(re.sub("_relu$", "", event.name) for event in trace.events())
    convolutions = [n for n, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    int8 = sum(widths[name] == 8 for name in convolutions)
    assert ran["quantized::conv2d"] == int8 == sum(asked(name, exclude) == 8 for name in convolutions)
    assert ran["aten::conv2d"] == len(convolutions) - int8
    assert (ran["quantized::linear"], ran["aten::linear"]) == (0, 1)


def test_excluded_neighbours_share_no_quantized_border():
    exclude = {"dense2": 16, "trans2": 16, "dense3": 32}
    names = [n.name for n in quantize(grouped(), [IMAGES], exclude).graph.nodes]
    between = names[names.index("dense2") : names.index("dense3") + 1]
    assert between == ["dense2", "trans2", "dense3"]


def test_weights_use_seven_bits_and_a_sign():
    converted = quantize(grouped(), [IMAGES], {})
    stem = next(op for op in record(converted, IMAGES[:1]) if op.name == "stem")
    assert (stem.weight_bits, stem.effective_bits) == (8, 8)
    assert int(converted.get_submodule("stem").weight().int_repr().min()) >= -127
    assert torch.backends.quantized.engine == "onednn"


def test_the_model_is_left_as_it_was():
    model = grouped().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    quantize(model, [IMAGES], {"dense1": 16})
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ({"dens3": 16}, "no module named 'dens3'; did you mean dense3"),
        ({"dense": 16}, "no module named 'dense'"),
        ({"": 16}, "no module named ''"),
        ({"dense3": 4}, "dense3 can be kept at 16 or 32 bits, got 4"),
        ({"dense3.0": 16, "dense3": 32}, r"dense3\.0 is inside dense3"),
    ],
)
def test_bad_exclusions_are_refused(exclude, message):
    with pytest.raises(SearcherError, match=message):
        quantize(grouped(), [IMAGES], exclude)


def test_no_images_are_refused():
    with pytest.raises(SearcherError, match="no calibration images"):
        quantize(grouped(), [], {})


@pytest.mark.parametrize(
    ("converted_with", "verified_with", "message"),
    [
        (
            {},
            {"dense1": 16},
            r"dense1\.0\.norm1 \(quantized::batch_norm2d_relu\) runs in 8 bits, dense1 was to be kept at 16",
        ),
        ({}, {"trans2": 32}, r"trans2\.pool \(aten::avg_pool2d\) runs in 8 bits"),
        ({}, {"dense1": 16}, r"dense1\.1\.cat\(\) \(aten::cat\) runs in 8 bits"),
        ({"dense1": 32}, {"dense1": 16}, r"dense1\.0\.conv1 \(aten::convolution\) runs in 32 bits"),
        ({"dense1": 16}, {}, r"dense1\.0\.conv1 \(aten::convolution\) runs in 16 bits, not 8"),
    ],
)
def test_a_leak_is_found(converted_with, verified_with, message):
    model = grouped()
    converted = quantize(model, [IMAGES], converted_with)
    with pytest.raises(TrialError, match=message):
        verify(model, converted, IMAGES, verified_with)


class Listed(nn.Module):
    """Modules in a list, a functional in between, and a branch by keyword."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])

    def forward(self, x):
        for conv in self.convs:
            x = F.relu(conv(x))
        return x


def test_a_list_of_modules_is_excluded_one_by_one():
    model = Listed().eval()
    check(model, {"convs": 16})
    check(model, {"convs.1": 32})


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


def test_a_network_that_cannot_be_traced_is_refused():
    with pytest.raises(TrialError, match="Branching cannot be traced"):
        quantize(Branching(), [IMAGES], {})
