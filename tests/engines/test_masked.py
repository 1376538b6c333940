"""The law of channel pruning: what holds passes, and every wrong row or column is found."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn
from torch.nn import functional as F

from searcher.compression.engines.labels import Labels
from searcher.costs.shapes.outline import returned
from searcher.errors import TrialError
from searcher.models import build
from tests.helpers.engines import ENGINES
from tests.helpers.pruned_nets import Net, between, conv, head, pool, two
from tests.helpers.random_nets import SIZES, networks, settled

SAID = {"torch-pruning": "torch-pruning cannot prune this network", "nni": "NNI cannot prune this network"}
every_engine = pytest.mark.parametrize("engine", ENGINES)


def pruned(engine: str, net: nn.Module, ratio: float = 0.5, side: int = 8) -> nn.Module:
    """The network after an engine, as the stage asks for it."""
    sizes = (1, 3, side, side)
    return ENGINES[engine](net, torch.randn(sizes), ratio, "l1", returned(net, sizes))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


# The consumer, its tensor, and the dimension in which it is cut.
CUT: dict[str, tuple[str, int, Callable[[], nn.Module]]] = {
    "convolution": ("y.weight", 1, between(lambda s, x: F.relu(x))),
    "behind a sigmoid": ("y.weight", 1, between(lambda s, x: torch.sigmoid(x))),
    "concatenation": ("y.weight", 1, two(lambda s, a, b: torch.cat([a, b], 1), 16)),
    "grouped, its inputs": ("c.weight", 1, between(lambda s, x: s.c(x), c=conv(8, 8, groups=2))),
    "grouped, its outputs": ("c.weight", 0, between(lambda s, x: s.c(x), c=conv(8, 8, groups=2))),
    "depthwise": ("c.weight", 0, between(lambda s, x: s.c(x), c=conv(8, 8, groups=8))),
    "transposed": ("t.weight", 0, between(lambda s, x: s.t(x), t=nn.ConvTranspose2d(8, 8, 2, stride=2))),
    "linear": ("h.weight", 1, head(lambda s, x: pool(x).flatten(1))),
    "linear of pixels": ("h.weight", 1, head(lambda s, x: x.flatten(1), 8 * 36)),
    "batch norm": ("n.weight", 0, between(lambda s, x: s.n(x), n=nn.BatchNorm2d(8))),
    "statistics": ("n.running_mean", 0, between(lambda s, x: s.n(x), n=nn.BatchNorm2d(8))),
    "group norm": ("n.bias", 0, between(lambda s, x: s.n(x), n=nn.GroupNorm(2, 8))),
    "instance norm": ("n.weight", 0, between(lambda s, x: s.n(x), n=nn.InstanceNorm2d(8, affine=True))),
    "PReLU": ("p.weight", 0, between(lambda s, x: s.p(x), p=nn.PReLU(8))),
    "filters of a sum": ("b.weight", 0, two(lambda s, a, b: a + b)),
    "squeeze-excite": (
        "e.weight", 0,
        between(lambda s, x: x * torch.sigmoid(s.e(F.relu(s.r(pool(x))))), r=conv(8, 8), e=conv(8, 8)),
    ),
}  # fmt: skip


def swapped(positions: Tensor, shape: torch.Size, dim: int) -> Tensor:
    """Those of the first two exchanged."""
    order = torch.arange(positions.shape[dim])
    order[:2] = order[:2].flip(0)
    return positions.index_select(dim, order)


def first(positions: Tensor, shape: torch.Size, dim: int) -> Tensor:
    """Those of the first so many in the place of those that are kept."""
    stride = shape[dim + 1 :].numel()
    now = torch.arange(positions.shape[dim]).view([-1 if d == dim else 1 for d in range(positions.dim())])
    return positions + (now - positions // stride % shape[dim]) * stride


@every_engine
@pytest.mark.parametrize("wrong", [swapped, first])
@pytest.mark.parametrize("kind", CUT)
def test_wrong_rows_and_columns_are_found(
    engine: str, kind: str, wrong: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, dim, make = CUT[kind]
    net = settled(make())
    with torch.no_grad():  # the last are kept, but for the first
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= torch.linspace(0.5, 1.5, len(module.weight)).view(-1, 1, 1, 1)
    module, attribute = name.split(".")
    taken = Labels.taken

    def broken(labels: Labels, small: nn.Module) -> Any:
        tensor = getattr(small.get_submodule(module), attribute)
        before = tensor.detach().contiguous().view(torch.int32)
        after = wrong(before, getattr(net.get_submodule(module), attribute).shape, dim).int()
        assert not torch.equal(before, after)
        tensor.data = after.view(torch.float32)
        return taken(labels, small)

    pruned(engine, net)
    monkeypatch.setattr(Labels, "taken", broken)
    said = rf"^{SAID[engine]}: prune channels: {module} (loses inputs|differs)"
    with pytest.raises(TrialError, match=said):
        pruned(engine, net)


@every_engine
def test_filters_in_another_order_are_found_where_they_are_read(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, taken = two(lambda s, a, b: a + b)(), Labels.taken

    def broken(labels: Labels, small: Any) -> Any:
        for tensor in small.b.parameters():
            tensor.data = swapped(tensor.data, tensor.shape, 0)
        return taken(labels, small)

    monkeypatch.setattr(Labels, "taken", broken)
    with pytest.raises(TrialError, match="prune channels: y differs"):
        pruned(engine, net)


@every_engine
def test_numbers_that_were_not_there_are_found(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, taken = between(lambda s, x: F.relu(x))(), Labels.taken

    def broken(labels: Labels, small: Any) -> Any:
        nn.init.ones_(small.y.bias)
        return taken(labels, small)

    monkeypatch.setattr(Labels, "taken", broken)
    with pytest.raises(TrialError, match=r"it put numbers of its own into y\.bias"):
        pruned(engine, net)


ENDINGS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "log_softmax": lambda s, x: F.log_softmax(x.mean((2, 3)), 1),
    "softmax": lambda s, x: x.mean((2, 3)).softmax(-1),
    "logsumexp": lambda s, x: x.logsumexp((2, 3)),
    "a norm of vectors": lambda s, x: F.normalize(x.mean((2, 3))),
    "an assertion": lambda s, x: _asserted(x),
    "a branch": lambda s, x: x.mean((2, 3)) if x.sum() < 1e9 else x.amax((2, 3)),
    "a number": lambda s, x: x.mean((2, 3)) * float(x.abs().max() > 0),
    "written into zeros": lambda s, x: torch.zeros(len(x), 10).add_(x.mean((2, 3))),
    "written into a part": lambda s, x: _written(x),
    "permuted": lambda s, x: x.permute(0, 2, 3, 1).mean((1, 2)),
    "a depthwise layer": lambda s, x: F.softmax(s.d(x).mean((2, 3)), 1),
}


VALUES = ("an assertion", "a branch", "a number", "written into zeros", "written into a part")
"""What torch.fx, by which NNI sees a network, has no values for."""


def _asserted(x: Tensor) -> Tensor:
    assert bool(x.isfinite().all())
    return x.mean((2, 3))


def _written(x: Tensor) -> Tensor:
    logits = torch.zeros(len(x), 10)
    logits[:, :] = x.mean((2, 3))
    return logits


@every_engine
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_layer_that_makes_the_outputs_keeps_its_channels(engine: str, ending: str) -> None:
    net = Net(
        lambda s, x: ENDINGS[ending](s, s.b(F.relu(s.a(x)))),
        a=conv(3, 8, 3), b=conv(8, 10), d=conv(10, 10, 3, groups=10),
    ).eval()  # fmt: skip
    if engine == "nni" and ending in VALUES:
        with pytest.raises(TrialError, match="NNI cannot prune this network: "):
            pruned(engine, net)
        return
    small = pruned(engine, net)
    assert small.get_submodule("a").out_channels == 4
    assert small(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_a_network_that_does_not_run_is_refused_before_an_engine_has_it() -> None:
    net = Net(lambda s, x: s.b(s.a(x)), a=conv(3, 8, 3), b=conv(4, 10))
    with pytest.raises(TrialError, match=r"does not run on \(1, 3, 8, 8\): .*to have 4 channels"):
        returned(net, (1, 3, 8, 8))


def _shuffled(x: Tensor, groups: int = 2) -> Tensor:
    parts = x.view(x.size(0), groups, -1, x.size(2), x.size(3)).transpose(1, 2)
    return parts.reshape(x.size(0), -1, x.size(2), x.size(3))


REGROUPED: dict[str, Callable[[], nn.Module]] = {
    "by view": between(lambda s, x: _shuffled(x)),
    "by a module": between(lambda s, x: s.f(x), f=nn.ChannelShuffle(2)),
    "by unflatten": between(lambda s, x: x.unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)),
    "every other": between(lambda s, x: x[:, ::2], 4),
    "the first half": between(lambda s, x: x[:, : x.shape[1] // 2], 4),
    "reversed": between(lambda s, x: x.flip(1)),
    "rolled": between(lambda s, x: x.roll(3, 1)),
    "channels last": head(lambda s, x: x.permute(0, 2, 3, 1).flatten(1), 8 * 36),
    "halves exchanged": between(lambda s, x: torch.cat(x.chunk(2, 1)[::-1], 1)),
}


@every_engine
@pytest.mark.parametrize("dead", ["first", "spread"])
@pytest.mark.parametrize("way", REGROUPED)
def test_dead_filters_leave_without_a_difference_or_are_refused(engine: str, way: str, dead: str) -> None:
    net = REGROUPED[way]().eval()
    gone = slice(4) if dead == "first" else torch.tensor([0, 3, 4, 7])
    with torch.no_grad():
        for tensor in (*net.get_submodule("a").parameters(), *_others(net)):
            tensor[gone] = 0
    images = torch.randn(2, 3, 8, 8)
    try:
        small = pruned(engine, net)
    except TrialError:
        return
    torch.testing.assert_close(small(images), net(images))


def _others(net: nn.Module) -> Iterator[Tensor]:
    """What is not to lose a living filter either."""
    y = getattr(net, "y", None)
    return y.parameters() if y is not None else iter(())


@every_engine
@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.GroupNorm(4, 8), nn.GroupNorm(2, 8, affine=False)])
def test_the_groups_of_a_norm_lose_as_many_channels_each(engine: str, norm: nn.GroupNorm) -> None:
    net = settled(between(lambda s, x: F.relu(s.n(x)), n=norm)())
    with torch.no_grad():  # all that is least lies in the first group
        net.get_submodule("a").weight[:4] *= 0.01
    try:
        small = pruned(engine, net)
    except TrialError:
        return
    old, new = net.get_submodule("a").bias, small.get_submodule("a").bias
    groups = [int(torch.isin(part, new).sum()) for part in old.view(norm.num_groups, -1)]
    left = small.get_submodule("n").num_groups
    assert {count for count in groups if count} == {len(new) // left}
    assert sum(map(bool, groups)) == left


def test_torch_pruning_takes_as_many_of_each_group_of_a_norm() -> None:
    net = settled(between(lambda s, x: F.relu(s.n(x)), n=nn.GroupNorm(2, 8))())
    with torch.no_grad():
        net.get_submodule("a").weight[:4] *= 0.01
    small = pruned("torch-pruning", net)
    left = torch.isin(net.get_submodule("a").bias, small.get_submodule("a").bias)
    assert left.view(2, 4).sum(1).tolist() == [2, 2]
    assert small.get_submodule("y").out_channels == 4


FAMILIES = {"densenet": 32, "mobilenet_v2": 32, "resnet20": 32, "ssd_mobilenet_v2": 96, "yolo": 96}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_shipped_family_is_refused_for_rounding(family: str) -> None:
    args = {"growth_rate": 4, "blocks": [2, 2, 2]} if family == "densenet" else {}
    net = settled(build(family, args, in_channels=3, classes=10))
    example = torch.randn(1, 3, FAMILIES[family], FAMILIES[family])
    keep = returned(net, tuple(example.shape))
    small = ENGINES["torch-pruning"](net, example, 0.5, "l1", keep)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())


def test_channels_that_torch_pruning_follows_without_end_are_refused() -> None:
    net = Net(
        lambda s, x: s.h(s.f(_shuffled(s.a(x), 4)).flatten(1)),
        a=conv(3, 12, 3), f=nn.ChannelShuffle(2), h=nn.Linear(12 * 36, 10),
    ).eval()  # fmt: skip
    with pytest.raises(
        TrialError, match=r"^torch-pruning cannot prune this network: which channels .* never ends"
    ):
        pruned("torch-pruning", net)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(net=networks(most=3))
def test_a_random_network_is_pruned_by_the_law_or_refused(net: nn.Module) -> None:
    for engine in ENGINES:
        refused = None
        try:
            small = pruned(engine, net)
            assert small(torch.randn(SIZES)).shape == (2, 10)
        except TrialError as error:
            refused = str(error)
        library = "NNI" if engine == "nni" else engine
        assert not refused or re.match(
            f"{library} (cannot prune this network: |was asked to remove )", refused
        )
