"""Latency by block: every moment of a run belongs to one place, whatever the clock says."""

from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from searcher import models
from searcher.compression.engines import fx
from searcher.config.deployment import Deployment
from searcher.costs.block_latency import (
    REST,
    ByBlock,
    Laps,
    hooked,
    marked,
    measure_blocks,
    middle,
    named_blocks,
)
from searcher.ui.terminal.costs import block_table
from tests.conftest import Run

SWIFTNET: dict[str, Any] = {"width": 0.125, "features": 8, "pyramid": True}


class Work(nn.Module):
    """Takes some seconds of a clock that is told."""

    def __init__(self, clock: "Clock", seconds: float) -> None:
        super().__init__()
        self.clock, self.seconds = clock, seconds

    def forward(self, x: Tensor) -> Tensor:
        self.clock.now += self.seconds
        return x + 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Outer(nn.Module):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.own, self.inner, self.levels = Work(clock, 1), Work(clock, 10), nn.ModuleList([Work(clock, 100)])

    def forward(self, x: Tensor) -> Tensor:
        return self.levels[0](self.inner(self.own(x)))


class Net(nn.Module):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.outer, self.last = Outer(clock), nn.Sequential(Work(clock, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.outer(self.outer(x)))


def swiftnet() -> nn.Module:
    net = models.build("swiftnet", SWIFTNET, in_channels=3, classes=5).train()
    net(torch.randn(4, 3, 32, 32))
    return net.eval()


def test_blocks_have_names():
    assert named_blocks(Net(Clock())) == ["outer", "outer.own", "outer.inner", "last"]
    names = named_blocks(swiftnet())
    assert names[:6] == [
        "encoder",
        *(f"encoder.{n}" for n in ("stem", "block1", "block2", "block3", "block4")),
    ]
    assert {"laterals.0", "decoder.0", "head"} <= set(names)


def test_every_call_of_a_block_has_its_time_and_the_sum_is_the_whole():
    clock = Clock()
    net, laps = Net(clock), Laps(clock)
    with hooked(net, named_blocks(net), laps):
        laps.begin()
        net(torch.zeros(1))
        found = laps.end()
    assert {place: seconds for place, seconds in found.items() if seconds} == {
        ("outer.own", 1): 1, ("outer.inner", 1): 10, ("outer", 1): 100,
        ("outer.own", 2): 1, ("outer.inner", 2): 10, ("outer", 2): 100,
        ("last", 1): 1000,
    }  # fmt: skip
    assert sum(found.values()) == clock.now
    before = clock.now
    net(torch.zeros(1))
    assert laps.seconds[("last", 1)] == 1000  # the hooks are gone
    assert clock.now == 2 * before


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "at", "work"]), st.integers(0, 9)), max_size=40))
def test_no_moment_is_lost_or_counted_twice(moves: list[tuple[str, int]]):
    clock = Clock()
    laps, depth = Laps(clock), 0
    for move, number in moves:
        clock.now += number
        if move == "enter":
            laps.enter(f"b{number}")
            depth += 1
        elif move == "leave" and depth:
            laps.leave()
            depth -= 1
        elif move == "at":
            laps.at((f"b{number}", 1))
            depth = 0
    assert sum(laps.end().values()) == clock.now


def test_a_graph_is_marked_where_the_block_changes_and_computes_what_it_did():
    net, images = swiftnet(), torch.randn(4, 3, 32, 32)
    converted = fx.convert(net, fx.prepare(net, [images], {}))
    ticks = count()
    laps = Laps(lambda: float(next(ticks)))
    made = marked(converted, named_blocks(net), laps)
    laps.begin()
    assert torch.equal(made(images), converted(images))
    found = laps.end()
    for name in ("encoder.stem", "encoder.block1", "encoder.block4", "laterals.3"):
        assert {call for path, call in found if path == name} == {1, 2, 3}
    assert {call for path, call in found if path == "head"} == {1}
    assert sum(found.values()) == next(ticks) - 2  # the first two are before it


def test_means_are_of_the_runs_after_the_warm_up_and_threads_are_put_back():
    net, threads = swiftnet(), torch.get_num_threads()
    asked = Deployment(batch=2, threads=1, warmup=1, runs=3)
    found = measure_blocks(net, named_blocks(net), torch.randn(1, 3, 32, 32), asked)
    assert torch.get_num_threads() == threads
    assert found.whole_ms > 0
    assert min(found.blocks.values()) >= 0
    assert ("encoder.block1", 3) in found.blocks
    assert list(found.blocks)[-1] == (REST, 1)


def test_the_table_has_shares_of_the_sum():
    found = ByBlock(5.0, {("a", 1): 1.0, ("a", 2): 3.0, (REST, 1): 1.0}, Deployment())
    assert found.sum_ms == 5
    columns = {str(column.header): list(column.cells) for column in block_table(found).columns}
    assert columns["block"][:3] == ["a", "a", "between them"]
    assert columns["call"][:3] == ["1", "2", ""]
    assert columns["share"][:3] == ["20.0%", "60.0%", "20.0%"]


@pytest.mark.parametrize("target", ["resnet20"])
def test_the_command(target: str, run_command: Run):
    result = run_command("measure", target, "--by-block", "--runs", "2", "--warmup", "1")
    assert result.returncode == 0, result.stderr
    for word in ("latency by block", "layer1", "between them", "sum", "the whole"):
        assert word in result.stdout
    refused = run_command("measure", "net.onnx", "--by-block")
    assert refused.returncode == 2
    assert "an ONNX file has no blocks" in refused.stderr


def test_the_middle_half_of_the_runs_counts():
    assert middle([5.0, 1.0, 9.0, 2.0, 3.0, 4.0, 100.0, 0.0], lambda run: run) == [2, 3, 4, 5]
    assert [middle([*range(n)], float) for n in (1, 2, 3)] == [[0], [0, 1], [0, 1, 2]]
