"""The channel that each criterion takes of nets made by hand, and how many of each layer."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from searcher.compression.engines import nni, torch_pruning
from searcher.compression.engines.amount import Amount, check_ratios
from searcher.compression.engines.channel_pruning import activation_scores, random_scores, taylor_scores
from searcher.errors import SearcherError, TrialError
from searcher.models.resnet import ResNet
from searcher.tasks.base import Batch
from tests.helpers.engines import ENGINES

IMAGES = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
every_engine = pytest.mark.parametrize("engine", ENGINES)


def net(filters: list[list[float]], bias: list[float] | None = None, scale: list[float] | None = None) -> Any:
    """A convolution with these filters, a batch norm, ReLU, the mean over the image, a linear layer."""
    count, side = len(filters), int(len(filters[0]) ** 0.5)
    conv, norm, head = nn.Conv2d(1, count, side), nn.BatchNorm2d(count), nn.Linear(count, 2)
    conv.weight.data = torch.tensor(filters).view(count, 1, side, side)
    conv.bias.data = torch.tensor(bias or [0.0] * count)
    norm.weight.data = torch.tensor(scale or [1.0] * count)
    head.weight.data = torch.ones(2, count)
    return nn.Sequential(conv, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


def removed(engine: str, model: Any, criterion: str, scores: Any = None, ratio: float = 0.25) -> set[int]:
    """The filters that are gone."""
    small: Any = ENGINES[engine](model, IMAGES[:1], ratio, criterion, (), scores)
    left = [torch.isclose(model[0].weight, kept).flatten(1).all(1).nonzero() for kept in small[0].weight]
    return set(range(len(model[0].weight))) - {int(place) for one in left for place in one}


@every_engine
def test_l1_and_l2_take_different_filters(engine: str) -> None:
    model = net([[1.0, 1, 1, 1], [0, 0, 0, 3], [2, 2, 2, 2], [3, 3, 3, 3]])
    assert removed(engine, model, "l1") == {1}
    assert removed(engine, model, "l2") == {0}


@every_engine
def test_fpgm_takes_the_filter_in_the_middle(engine: str) -> None:
    assert removed(engine, net([[0.1], [1], [2], [10], [11]]), "fpgm", ratio=0.2) == {2}


@every_engine
def test_the_mean_activation_takes_the_channel_that_is_silent(engine: str) -> None:
    model = net([[1.0], [2], [9], [3]], bias=[0.0, 0, -100, 0])
    assert removed(engine, model, "activation", activation_scores(model, [IMAGES], 0)) == {2}


@every_engine
def test_at_random_the_seed_alone_decides(engine: str) -> None:
    model = net([[1.0], [2], [3], [4]])
    scores = random_scores(model, [], 5)
    assert removed(engine, model, "random", scores) == {int(scores["0"].argmin())}


def test_the_scale_of_the_batch_norm_takes_the_channel_that_is_scaled_down() -> None:
    model = net([[1.0], [2], [3], [4]], scale=[1.0, 1, 0.1, -2])
    assert removed("torch-pruning", model, "bn_scale") == {2}


def test_without_a_batch_norm_there_is_no_scale() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1))
    with pytest.raises(TrialError, match="has no batch norm by whose scale"):
        ENGINES["torch-pruning"](model, IMAGES[:1], 0.5, "bn_scale")


def taylor(model: Any) -> dict[str, Tensor]:
    labels = torch.arange(len(IMAGES)) % 2
    batch = Batch(IMAGES, labels, torch.arange(len(IMAGES)))
    return taylor_scores(model, [batch], lambda out, batch: nn.functional.cross_entropy(out, batch.targets))


@every_engine
def test_taylor_takes_the_channel_on_which_the_loss_does_not_depend(engine: str) -> None:
    model = net([[1.0], [2], [9], [3]])
    model[5].weight.data[1] = torch.tensor([-1.0, 2, 1, -3])  # both classes read the third alike
    scores = taylor(model)
    assert scores["0"][2] < 1e-5 < scores["0"].topk(3).values.min()
    assert removed(engine, model, "taylor", scores) == {2}


def test_taylor_is_what_the_loss_loses_without_a_filter_to_the_first_order() -> None:
    model = net([[1.0, 2, 3, 4], [0.5, 0.1, 0.2, 0.3], [1, 1, 1, 1]])
    model[5].weight.data = torch.tensor([[1.0, -2, 3], [0, 1, -1]])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    labels = torch.arange(len(IMAGES)) % 2
    scores = taylor(model)["0"]
    for place, score in enumerate(scores):
        with torch.no_grad():
            losses = []
            for share in (1e-3, -1e-3):
                model[0].weight[place] *= 1 + share
                losses.append(nn.functional.cross_entropy(model(IMAGES), labels))
                model[0].weight[place] /= 1 + share
        torch.testing.assert_close(score, (losses[0] - losses[1]).abs() / 2e-3, rtol=2e-2, atol=1e-4)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.allclose(value, before[name]) for name, value in model.state_dict().items())


def test_a_global_ratio_takes_what_is_least_in_all_layers() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    for conv, small in ((model[0], 6), (model[2], 1)):
        nn.init.ones_(conv.weight)
        conv.weight.data[:small] *= 1e-3
    amount = Amount(7 / 16, together=True)
    small = torch_pruning.prune_channels(model, IMAGES[:1], amount, "l1", ("4",)).net
    assert [conv.out_channels for conv in small if isinstance(conv, nn.Conv2d)] == [2, 7, 2]


def widths(model: nn.Module) -> list[int]:
    return [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.95])
@pytest.mark.parametrize("criterion", torch_pruning.CRITERIA)
def test_a_global_ratio_is_met_and_empties_no_layer(ratio: float, criterion: str) -> None:
    torch.manual_seed(0)
    model = ResNet(3, 10, (8, 16), (2, 1), option_a=False).eval()
    example = torch.randn(1, 3, 8, 8)
    had = {name: m.out_channels for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    small = model
    for part in (0.5, 1.0):
        amount = Amount(ratio, together=True, part=part, had=had)
        small = torch_pruning.prune_channels(small, example, amount, criterion).net
    assert 1 - sum(widths(small)) / sum(widths(model)) == pytest.approx(ratio, abs=0.08)
    assert min(widths(small)) >= 1


amounts = st.builds(
    Amount,
    st.floats(0.01, 0.99),
    together=st.just(False),
    multiple=st.integers(1, 16),
    part=st.sampled_from([0.25, 0.5, 1]),
)


@given(amounts, st.integers(1, 64), st.sampled_from([1, 2, 4]))
def test_what_is_left_is_a_multiple_or_all(amount: Amount, each: int, blocks: int) -> None:
    size = each * blocks
    left = amount.left(["a"], size, blocks)
    assert blocks <= left <= size
    assert left % blocks == 0
    assert left == size or left % amount.multiple == 0
    further = Amount(amount.ratio, multiple=amount.multiple, part=1.0, had={"a": size})
    assert further.left(["a"], left, blocks) == min(
        left, Amount(amount.ratio, multiple=amount.multiple).left(["a"], size, blocks)
    ), "in steps as at once"


def test_the_ratio_of_the_innermost_module_counts_and_the_least_of_coupled_ones() -> None:
    amount = Amount(0.1, {"a": 0.5, "a.b": 0.25})
    assert [amount.of(name) for name in ("a.c", "a.b.c", "ab", "a")] == [0.5, 0.25, 0.1, 0.5]
    assert amount.left(["a.c"], 20, 1) == 10
    assert amount.left(["a.c", "a.b.c"], 20, 1) == 15


@every_engine
def test_ratios_by_module_and_multiples_are_met_by_both_engines(engine: str) -> None:
    prune = {"torch-pruning": torch_pruning, "nni": nni}[engine].prune_channels
    torch.manual_seed(0)
    model = ResNet(3, 10, (16, 32), (2, 2), option_a=False).eval()
    amount = Amount(0.0, {"layer1": 0.5, "layer2.0": 0.3}, multiple=4)
    small: Any = prune(model, torch.randn(1, 3, 8, 8), amount, "l1").net
    left = {n: m.out_channels for n, m in small.named_modules() if isinstance(m, nn.Conv2d)}
    assert {n: w for n, w in left.items() if n.endswith("conv1")} == {
        "conv1": 16, "layer1.0.conv1": 8, "layer1.1.conv1": 8, "layer2.0.conv1": 24, "layer2.1.conv1": 32,
    }  # fmt: skip
    assert {w for n, w in left.items() if n.endswith("conv2")} == {16, 32}, "coupled with what stays whole"


def test_a_ratio_of_no_module_and_of_one_without_channels_are_refused() -> None:
    model = ResNet(3, 10, (8, 16), (2, 1), option_a=False)
    with pytest.raises(SearcherError, match="no module named 'layr1'; did you mean layer1"):
        check_ratios(model, ["layr1"])
    with pytest.raises(SearcherError, match="ratios: linear has no convolution"):
        check_ratios(model, ["layer1", "linear"])
