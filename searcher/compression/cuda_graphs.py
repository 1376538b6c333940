"""CUDA graphs: a function of tensors that is recorded once and then launched as a whole.

The networks here are small: a GPU waits for the launches of their kernels, some thousands a training step. A
recorded function is one launch.
"""

import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from searcher.errors import first_line

WARM_UP = 3
"""Calls of each size that run as they are: they make what is made lazily. The last of them is watched."""

MAX_DISAGREEMENT = 0.02
"""Of what a call changes: the distance of a replay from the call itself, where kernels add in any order."""

Function = Callable[..., Any]


class Recorder(Protocol):
    """Records a function's kernels."""

    def record(self, function: Function, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        """A replay of the function on these very inputs, and the outputs that each replay fills."""


class CudaRecorder:
    """Records on the current stream, which is not the default one; all graphs share a pool of memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, function: Function, inputs: Sequence[Tensor]) -> tuple[Callable[[], None], Any]:
        """A replay of the function on these very inputs, and the outputs that each replay fills."""
        graph = torch.cuda.CUDAGraph()
        own: Exception | None = None
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=torch.cuda.current_stream()):
                try:
                    outputs = function(*inputs)
                except Exception as error:
                    own = error
                    raise
        except Exception as error:
            # The end of an interrupted recording raises an error of its own, which says less.
            raise NotRecordable(first_line(own or error)) from error
        return graph.replay, outputs


class NotRecordable(Exception):
    """A function does what a graph cannot hold."""


def recorder(device: torch.device) -> Recorder | None:
    """The recorder of a device; None where there is none."""
    return CudaRecorder() if device.type == "cuda" else None


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """A stream of its own on a GPU, since nothing can be recorded on the default one."""
    if device.type != "cuda":
        yield
        return
    outer, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(outer)
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield
    outer.wait_stream(stream)


@dataclass
class Graphed:
    """A function of tensors, replayed as a CUDA graph from its fifth call with inputs of the same sizes on.

    It is called as it is on the CPU, and where a graph cannot hold it: where it waits for the GPU, where it
    draws random numbers on the CPU or changes attributes of its modules, which a replay would not do again,
    or where a replay does not do what the call does. `reason` then says why.

    Attributes:
        function: Takes tensors; returns tensors, or nothing.
        name: For the log.
        recorder: Records it; None on the CPU.
        modules: The networks that it runs.
        state: The tensors that a call changes.
    """

    function: Function
    name: str
    recorder: Recorder | None
    modules: Sequence[nn.Module] = ()
    state: Callable[[], Iterable[Tensor]] = tuple
    reason: str = ""
    _calls: Counter[Any] = field(default_factory=Counter)
    _graphs: dict[Any, "_Graph"] = field(default_factory=dict)
    _draws: bool = False

    def __call__(self, *inputs: Tensor) -> Any:
        """Call the function or replay it; the outputs are the caller's."""
        if self.recorder is None or self.reason:
            return self.function(*inputs)
        sizes = tuple((x.shape, x.dtype, x.stride()) for x in inputs)
        if graph := self._graphs.get(sizes):
            return graph(inputs)
        self._calls[sizes] += 1
        if self._calls[sizes] < WARM_UP:
            return self.function(*inputs)
        if self._calls[sizes] == WARM_UP:
            return self._watched(inputs)
        return self._recorded(sizes, inputs)

    def _watched(self, inputs: Sequence[Tensor]) -> Any:
        attributes, drawn, device_drawn = _attributes(self.modules), _host_random(), _device_random()
        with waits() as waited:
            outputs = self.function(*inputs)
        self._draws = device_drawn != _device_random()
        if waited:
            self._give_up(f"it waits for the GPU at {waited[0]}")
        elif drawn != _host_random():
            self._give_up("it draws random numbers on the CPU")
        elif changed := _changed(attributes, _attributes(self.modules)):
            self._give_up(f"a call changes {changed}")
        return outputs

    def _recorded(self, sizes: Any, inputs: Sequence[Tensor]) -> Any:
        assert self.recorder is not None
        held = [x.clone() for x in inputs]
        before = [x.detach().clone() for x in self.state()]
        try:
            graph = _Graph(held, *self.recorder.record(self.function, held))
        except Exception as error:
            self._give_up(first_line(error))
            return self.function(*inputs)
        self._restore(before)
        if self._draws:  # two calls differ
            self._graphs[sizes] = graph
            return self.function(*inputs)
        replayed = [*_tensors(graph(inputs)), *(x.detach().clone() for x in self.state())]
        self._restore(before)
        outputs = self.function(*inputs)
        called = [*_tensors(outputs), *self.state()]
        starts = [*(torch.zeros_like(x) for x in _tensors(outputs)), *before]
        far = _disagreement(replayed, called, starts)
        if not far <= MAX_DISAGREEMENT:  # also where it is no number
            self._give_up(f"a replay differs from the call by {far:.1%} of what it changes")
        else:
            self._graphs[sizes] = graph
        return outputs

    def _restore(self, before: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for tensor, value in zip(self.state(), before, strict=True):
                tensor.copy_(value)

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self._graphs.clear()
        print(f"{self.name}: not one CUDA graph, its kernels are launched one by one: {reason}", flush=True)


@dataclass
class _Graph:
    inputs: Sequence[Tensor]
    replay: Callable[[], None]
    outputs: Any

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        for held, given in zip(self.inputs, inputs, strict=True):
            held.copy_(given)
        self.replay()
        return _cloned(self.outputs)


class GraphedModule(nn.Module):
    """A network that is only read, replayed as a CUDA graph."""

    def __init__(self, network: nn.Module, name: str, recorder: Recorder | None) -> None:
        super().__init__()
        self.network = network
        self._graphed = Graphed(network, name, recorder, [network])

    @torch.no_grad()
    def forward(self, images: Tensor) -> Any:
        """The network's outputs for images (N, C, H, W)."""
        return self._graphed(images)


@contextmanager
def waits() -> Iterator[list[str]]:
    """The lines of code that wait for the GPU meanwhile."""
    found: list[str] = []
    if not torch.cuda.is_available():
        yield found
        return
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for one in caught:
        if "called a synchronizing CUDA operation" in str(one.message):
            found.append(f"{one.filename}:{one.lineno}")
        elif "Synchronization debug mode" not in str(one.message):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _host_random() -> Any:
    """The states of the random generators of the CPU, which a replay leaves as they are."""
    kind, keys, *place = np.random.get_state()
    return random.getstate(), kind, bytes(np.asarray(keys).data), place, bytes(torch.get_rng_state().numpy())


def _device_random() -> bytes:
    return bytes(torch.cuda.get_rng_state().numpy()) if torch.cuda.is_available() else b""


def _attributes(modules: Sequence[nn.Module]) -> dict[str, Any]:
    """The attributes of networks that are numbers or texts, by their modules' names."""
    kinds = (bool, int, float, str, type(None))
    return {
        f"{name or type(module).__name__}.{key}": value
        for network in modules
        for name, module in network.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, kinds)
    }


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The first attribute that is another one; empty where all are as they were."""
    names = {**before, **after}
    return next((name for name in names if repr(before.get(name)) != repr(after.get(name))), "")


@torch.no_grad()
def _disagreement(replayed: list[Tensor], called: list[Tensor], starts: list[Tensor]) -> float:
    """The distance of a replay's results from a call's, as a share of what the call has changed."""
    apart, moved = _distance(replayed, called), _distance(called, starts)
    return apart / max(moved, 1e-15) if apart else 0.0


def _distance(ones: list[Tensor], others: list[Tensor]) -> float:
    """The Euclidean distance of all their numbers, read from the device at once."""
    squares = [(a.double() - b.double()).square().sum() for a, b in zip(ones, others, strict=True)]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    return [x for one in outputs for x in _tensors(one)] if isinstance(outputs, tuple | list) else []


def _cloned(outputs: Any) -> Any:
    """Outputs that the next replay does not fill again."""
    if isinstance(outputs, Tensor):
        return outputs.clone()
    if isinstance(outputs, dict):
        return {key: _cloned(value) for key, value in outputs.items()}
    if isinstance(outputs, tuple | list):
        parts = [_cloned(one) for one in outputs]
        return type(outputs)(*parts) if hasattr(outputs, "_fields") else type(outputs)(parts)
    return outputs
