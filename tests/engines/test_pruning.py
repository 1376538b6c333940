import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from searcher.compression.engines import nni, torch_pruning
from searcher.compression.engines.weight_masks import weight_masks
from searcher.errors import SearcherError, TrialError
from searcher.models.densenet import densenet
from searcher.models.resnet import ResNet, resnet20
from tests.helpers.engines import ENGINES

NETS: dict[str, Callable[[], nn.Module]] = {
    "densenet": lambda: densenet(growth_rate=4, blocks=[2, 3, 2]),
    "grouped 3×3": lambda: densenet(growth_rate=8, blocks=[2, 3], groups_3x3=4),
    "grouped 1×1": lambda: densenet(growth_rate=8, blocks=[2, 3], groups_1x1=4, groups_3x3=2),
    "depthwise": lambda: densenet(growth_rate=4, blocks=[2, 3], depthwise=True),
    "grouped 1×1, depthwise": lambda: densenet(growth_rate=4, blocks=[2, 3], groups_1x1=2, depthwise=True),
    "projection shortcuts": lambda: ResNet(3, 10, (8, 16), (2, 1), option_a=False),
    "padded shortcuts": resnet20,
}
FREE = ("densenet", "grouped 3×3", "depthwise", "projection shortcuts")
"""The nets in which no consumer fixes the channels of a convolution."""
DENSENETS = [net for net in NETS if "shortcuts" not in net]

every_engine = pytest.mark.parametrize("engine", ENGINES)
every_net = pytest.mark.parametrize("net", NETS)
every_criterion = pytest.mark.parametrize("criterion", nni.CRITERIA)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def trained(net: str) -> nn.Module:
    """The net as training may leave its norms, every channel of which has a running mean of its own."""
    model = NETS[net]().eval()
    for norm in norms(model).values():
        norm.running_mean.copy_(torch.linspace(-0.3, 0.3, norm.num_features))
        norm.running_var.uniform_(0.5, 1.5)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.3)
    return model


def norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}


def channels(model: nn.Module) -> int:
    return sum(conv.out_channels for conv in convolutions(model).values())


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8)


def test_the_engines_know_the_same_criteria() -> None:
    assert [*nni.CRITERIA, "bn_scale"] == list(torch_pruning.CRITERIA) == ["l1", "l2", "fpgm", "bn_scale"]


@every_engine
@every_net
@every_criterion
def test_pruning_makes_a_smaller_net_that_trains(engine: str, net: str, criterion: str) -> None:
    model, x = trained(net), images()
    small = ENGINES[engine](model, x, 0.3, criterion)
    assert not any(m.training for m in small.modules())
    assert parameters(small) < parameters(model)
    removed = 1 - channels(small) / channels(model)
    assert removed == pytest.approx(0.3, abs=0.06) if net in FREE else 0.1 < removed <= 0.3
    logits = torch.fx.symbolic_trace(small)(x)
    assert logits.shape == (2, 10)
    small.train()(x).sum().backward()
    assert all(p.dtype is torch.float32 and p.grad is not None for p in small.parameters())


@every_engine
@every_net
def test_the_given_model_stays_as_it_was(engine: str, net: str) -> None:
    model, x = trained(net).train(), images()
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    ENGINES[engine](model, x, 0.4, "l1")
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(torch.get_rng_state(), generator)


@every_engine
@pytest.mark.parametrize("net", DENSENETS)
@every_criterion
def test_the_small_net_computes_the_original_with_zeroed_channels(
    engine: str, net: str, criterion: str
) -> None:
    model, x = trained(net), images()
    small = ENGINES[engine](model, x, 0.4, criterion)
    zeroed, left = copy.deepcopy(model), norms(small)
    for name, norm in norms(zeroed).items():
        gone = ~torch.isin(norm.running_mean, left[name].running_mean)
        norm.weight.data[gone] = 0
        norm.bias.data[gone] = 0
    torch.testing.assert_close(small(x), zeroed(x), rtol=1e-4, atol=1e-5)


@every_engine
def test_the_kept_modules_keep_their_channels(engine: str) -> None:
    model = trained("densenet")
    small = ENGINES[engine](model, images(), 0.5, "l1", keep=("stem", "dense2", "trans1.conv"))
    whole, left = convolutions(model), convolutions(small)
    kept = {name for name in whole if name.startswith(("stem", "dense2", "trans1"))}
    assert all(left[name].out_channels == whole[name].out_channels for name in kept)
    assert all(left[name].out_channels < whole[name].out_channels for name in whole.keys() - kept)


@every_engine
def test_a_small_net_can_be_pruned_again(engine: str) -> None:
    x, prune = images(), ENGINES[engine]
    once = prune(trained("depthwise"), x, 0.3, "l2")
    twice = prune(once, x, 0.3, "l2")
    assert channels(twice) < channels(once)
    assert twice(x).shape == (2, 10)


@every_engine
def test_pruning_within_no_grad_and_of_frozen_parameters(engine: str) -> None:
    model = trained("densenet").requires_grad_(False)
    with torch.no_grad():
        small = ENGINES[engine](model, images(), 0.3, "l1")
    assert all(p.requires_grad and p.is_leaf for p in small.parameters())
    assert not any(p.requires_grad for p in model.parameters())


@every_engine
def test_a_channel_that_is_zero_already_is_the_first_to_go(engine: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 10))
    for conv in convolutions(model).values():
        nn.init.zeros_(conv.weight[::4])
        nn.init.zeros_(conv.bias[::4])
    x = images()
    small = ENGINES[engine](model, x, 0.25, "l1")
    assert channels(small) == 12
    torch.testing.assert_close(small(x), model(x))


@every_engine
def test_a_ratio_below_one_channel_is_an_error_not_a_copy(engine: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 10))
    with pytest.raises(TrialError, match=r"asked to remove 10.0% .* could remove 0.0%"):
        ENGINES[engine](model, images(), 0.1, "l1")


@every_engine
def test_a_high_ratio_leaves_a_channel_in_every_layer(engine: str) -> None:
    small = ENGINES[engine](trained("densenet"), images(), 0.95, "l1")
    assert min(conv.out_channels for conv in convolutions(small).values()) == 1
    assert small(images()).shape == (2, 10)


@every_engine
def test_a_convolution_of_one_channel_is_no_depthwise_one(engine: str) -> None:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 1, 1), nn.Conv2d(1, 1, 3), nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 3)
    small = ENGINES[engine](nn.Sequential(*layers).eval(), images(), 0.5, "l1", keep=("4",))
    assert [conv.out_channels for conv in convolutions(small).values()] == [1, 1, 4, 4]


@every_engine
def test_a_group_convolution_of_single_channels_is_an_error(engine: str) -> None:
    model = densenet(growth_rate=4, blocks=[3, 3], groups_3x3=4)
    with pytest.raises(TrialError, match="fixed by group convolutions"):
        ENGINES[engine](model, images(), 0.5, "l1")


@every_engine
def test_unknown_names_are_answered_with_the_nearest(engine: str) -> None:
    model, x = trained("densenet"), images()
    with pytest.raises(SearcherError, match=r"criterion named 'l3'; did you mean l2 or l1"):
        ENGINES[engine](model, x, 0.3, "l3")
    with pytest.raises(SearcherError, match=r"module named 'dens1'; did you mean .*dense1"):
        ENGINES[engine](model, x, 0.3, "l1", keep=("stem", "dens1"))


def prunable(model: nn.Module) -> dict[str, Tensor]:
    named = model.named_modules()
    return {f"{name}.weight": m.weight for name, m in named if isinstance(m, nn.Conv2d | nn.Linear)}


def shares(masks: dict[str, Tensor]) -> tuple[float, list[float]]:
    """The sparsity over all the weights, and of each layer."""
    total = torch.cat([mask.flatten() for mask in masks.values()])
    return float((total == 0).float().mean()), [float((m == 0).float().mean()) for m in masks.values()]


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
@every_net
def test_local_masks_have_the_sparsity_in_every_layer(net: str, sparsity: float) -> None:
    model = trained(net)
    masks = weight_masks(model, sparsity, "local")
    weights = prunable(model)
    assert masks.keys() == weights.keys()
    for name, mask in masks.items():
        assert mask.shape == weights[name].shape
        assert int((mask == 0).sum()) == int(mask.numel() * sparsity)
        kept, pruned = weights[name][mask == 1].abs(), weights[name][mask == 0].abs()
        assert not len(pruned) or pruned.max() <= kept.min()


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
@every_net
def test_global_masks_share_one_threshold(net: str, sparsity: float) -> None:
    model = trained(net)
    nn.init.normal_(prunable(model)[next(iter(prunable(model)))], std=1e-4)
    masks = weight_masks(model, sparsity, "global")
    overall, layers = shares(masks)
    assert overall == pytest.approx(sparsity, abs=5e-4)
    assert max(layers) < 1
    weights = prunable(model)
    uncapped = [name for name, share in zip(masks, layers, strict=True) if share < 0.95]
    kept = [weights[name][masks[name] == 1].abs().min() for name in uncapped]
    pruned = [weights[name][masks[name] == 0].abs() for name in uncapped]
    assert not kept or torch.cat(pruned).max() < min(kept)


@pytest.mark.parametrize("scope", ["local", "global"])
def test_masks_leave_the_model_as_it_was(scope: str) -> None:
    model = trained("densenet").train()
    frozen = prunable(model)["stem.weight"].requires_grad_(False)
    before, modules = copy.deepcopy(model.state_dict()), list(map(type, model.modules()))
    weight_masks(model, 0.5, scope)
    assert model.training
    assert list(map(type, model.modules())) == modules
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"stem.weight"}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert prunable(model)["stem.weight"] is frozen
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


@settings(max_examples=25, deadline=None)
@given(
    sparsities=st.lists(st.floats(0.02, 0.97), min_size=2, max_size=4).map(sorted),
    scope=st.sampled_from(["local", "global"]),
    seed=st.integers(0, 2**16),
)
def test_pruned_weights_stay_pruned_as_the_sparsity_grows(
    sparsities: list[float], scope: str, seed: int
) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(256, 10))
    earlier = {name: torch.ones_like(w) for name, w in prunable(model).items()}
    for sparsity in sparsities:
        masks = weight_masks(model, sparsity, scope)
        assert all((masks[name] <= mask).all() for name, mask in earlier.items())
        assert shares(masks)[0] == pytest.approx(sparsity, abs=0.005)
        with torch.no_grad():
            for name, weight in prunable(model).items():
                weight.add_(0.01 * torch.randn_like(weight)).mul_(masks[name])
        earlier = masks


def test_weights_of_one_magnitude_have_no_global_threshold() -> None:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20))
    for weight in prunable(model).values():
        nn.init.ones_(weight)
    with pytest.raises(TrialError, match=r"asked for a global sparsity of 50.0%"):
        weight_masks(model, 0.5, "global")


def test_an_unknown_scope_is_named() -> None:
    with pytest.raises(SearcherError, match="no scope named 'globl'; did you mean global"):
        weight_masks(trained("densenet"), 0.5, "globl")


def test_nni_neither_prints_nor_warns(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ENGINES["nni"](trained("densenet"), images(), 0.3, "l1")
        weight_masks(trained("densenet"), 0.3, "global")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scope", ["local", "global"])
def test_masks_do_not_depend_on_the_memory_format(scope: str) -> None:
    model = copy.deepcopy(trained("grouped 3×3"))
    contiguous = weight_masks(model, 0.5, scope)
    model.to(memory_format=torch.channels_last)
    assert all(torch.equal(m, contiguous[name]) for name, m in weight_masks(model, 0.5, scope).items())
