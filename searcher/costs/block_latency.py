"""Latency of a network's blocks: of each call of each, so that their sum is the whole."""

import copy
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, fx, nn

from searcher.config.deployment import Deployment
from searcher.costs.counting.scope import without_wrappers
from searcher.costs.latency import check_device
from searcher.costs.latency_worker import batch_of

REST = ""
"""The name of what is in no block."""

Place = tuple[str, int]
"""A block's path, and which of its calls within a run it is, from 1 on."""

Run = TypeVar("Run")


@dataclass(frozen=True)
class ByBlock:
    """Latency of a network, and of the calls of its blocks in their order.

    Attributes:
        whole_ms: Mean of a run of a batch as it is, of the middle half of the runs, in milliseconds.
        blocks: Mean of each call of a block, without the blocks inside it, in runs that are stopped at the
            borders; `REST` is between them.
        conditions: How it was run.
    """

    whole_ms: float
    blocks: dict[Place, float]
    conditions: Deployment

    @property
    def sum_ms(self) -> float:
        """The time of all blocks."""
        return sum(self.blocks.values())


class Laps:
    """Charges the time between two moments to the place that a run is at.

    Args:
        clock: Seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Begin a run, outside of all blocks."""
        self.seconds: defaultdict[Place, float] = defaultdict(float)
        self._calls: Counter[str] = Counter()
        self._stack: list[Place] = [(REST, 1)]
        self._since = self._clock()

    def enter(self, path: str) -> None:
        """A block is called."""
        self._calls[path] += 1
        self._charge()
        self._stack.append((path, self._calls[path]))

    def leave(self) -> None:
        """The block that was entered last returns."""
        self._charge()
        self._stack.pop()

    def at(self, place: Place) -> None:
        """The run is at another place, wherever it was."""
        self._charge()
        self._stack = [place]

    def end(self) -> dict[Place, float]:
        """The seconds of every place."""
        self._charge()
        return dict(self.seconds)

    def _charge(self) -> None:
        now = self._clock()
        self.seconds[self._stack[-1]] += now - self._since
        self._since = now


def named_blocks(network: nn.Module) -> list[str]:
    """The paths of a network's blocks: its children and, of those that are no sequence, their named children.

    A list of modules, which nobody calls, is its items.
    """
    found = []
    for name, child in network.named_children():
        found += [] if isinstance(child, nn.ModuleList) else [name]
        if type(child).__module__.startswith("torch.nn.") and not isinstance(child, nn.ModuleList):
            continue
        for inner, grandchild in child.named_children():
            listed = isinstance(child, nn.ModuleList) or not inner.isdigit()
            if listed and not isinstance(grandchild, nn.ModuleList):
                found.append(f"{name}.{inner}")
    return found


def measure_blocks(
    executed: nn.Module, names: Sequence[str], example: Tensor, conditions: Deployment
) -> ByBlock:
    """Run a network as it is and stopped at the borders of its blocks, by turns.

    Args:
        executed: The network, or the graph that executes it; on the CPU.
        names: Its blocks, as `named_blocks` has them of the network that the graph was made of.
        example: Images (N, C, H, W), of which the first is repeated to the batch.
        conditions: How it is run.

    Raises:
        SearcherError: The device is not there.
    """
    check_device(conditions)
    device = torch.device(conditions.device)
    images = batch_of(example[:1], conditions.batch).to(device)
    laps, threads = Laps(_clock(device)), torch.get_num_threads()
    network = copy.deepcopy(executed).to(device).eval()
    stopped = marked(network, names, laps) if isinstance(network, fx.GraphModule) else network
    seen: list[dict[Place, float]] = []
    wholes: list[float] = []
    torch.set_num_threads(conditions.threads)
    try:
        with torch.inference_mode():
            for _ in range(conditions.warmup + conditions.runs):
                wholes.append(sum(_run(network, images, laps).values()))
                with hooked(stopped, names, laps):
                    seen.append(_run(stopped, images, laps))
    finally:
        torch.set_num_threads(threads)
    wholes = middle(wholes[conditions.warmup :], lambda whole: whole)
    seen = middle(seen[conditions.warmup :], lambda run: sum(run.values()))
    places = sorted({place for one in seen for place in one}, key=_order(names))
    means = {place: 1000 * statistics.fmean(one.get(place, 0.0) for one in seen) for place in places}
    return ByBlock(1000 * statistics.fmean(wholes), means, conditions)


def middle(runs: Sequence[Run], seconds: Callable[[Run], float]) -> list[Run]:
    """The middle half of some runs by their time: other work on the machine is in the slowest."""
    ordered, cut = sorted(runs, key=seconds), len(runs) // 4
    return ordered[cut : len(ordered) - cut]


def _order(names: Sequence[str]) -> Callable[[Place], tuple[int, int]]:
    return lambda place: (names.index(place[0]) if place[0] else len(names), place[1])


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type != "cuda":
        return time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def _run(network: nn.Module, images: Tensor, laps: Laps) -> dict[Place, float]:
    laps.begin()
    network(images)
    return laps.end()


@contextmanager
def hooked(network: nn.Module, names: Sequence[str], laps: Laps) -> Iterator[None]:
    """Have a network tell the time as its blocks are called and return; a graph calls none of them."""
    blocks = [] if isinstance(network, fx.GraphModule) else names
    with ExitStack() as stack:
        for name in blocks:
            module = network.get_submodule(name)
            enter = module.register_forward_pre_hook(lambda *_, name=name: laps.enter(name))
            leave = module.register_forward_hook(lambda *_: laps.leave())
            stack.callback(enter.remove)
            stack.callback(leave.remove)
        yield


class _Mark(nn.Module):
    def __init__(self, laps: Laps, place: Place) -> None:
        super().__init__()
        self.laps, self.place = laps, place

    def forward(self) -> None:
        self.laps.at(self.place)


def marked(graph: fx.GraphModule, names: Sequence[str], laps: Laps) -> fx.GraphModule:
    """A copy of a graph with marks wherever the block changes."""
    made = copy.deepcopy(graph)
    calls: Counter[str] = Counter()
    current: dict[str, int] = {}
    last: Place = (REST, 1)
    for number, node in enumerate(list(made.graph.nodes)):
        path, name = _place(node, names)
        # A conversion forgets where functions that it fuses came from: they stay with what is before them.
        if not path or node.op not in ("call_module", "call_function", "call_method"):
            continue
        if node.op == "call_module" and name:
            calls[path] += 1
            current[name] = calls[path]
        place = (name, current.get(name, 1))
        if place != last:
            made.add_submodule(f"_mark{number}", _Mark(laps, place))
            with made.graph.inserting_before(node):
                made.graph.call_module(f"_mark{number}")
        last = place
    made.recompile()
    return made


def _place(node: fx.Node, names: Sequence[str]) -> tuple[str, str]:
    """The path of the module that a node came from, and the innermost block that it is in."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(node.target) if node.op == "call_module" else next(reversed(stack), "")
    path = without_wrappers(path)
    around = [name for name in names if f"{path}.".startswith(f"{name}.")]
    return path, max(around, key=len, default=REST)
