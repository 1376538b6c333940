"""The law that an int8 network computes what its own fake-quantized reference does, checked on images."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from searcher.costs.counting.scope import SATURATED, without_wrappers
from searcher.costs.counting.tensors import tensors_in
from searcher.errors import TrialError

MAX_STEPS = 2
"""The most that an int8 operation's output may differ from the reference's, in steps of its scale, where both
read the same: kernels round a sum once more or less, and half a step is what rounding is."""

MIN_DB = 10.0
"""The least ratio of signal to difference of what both networks return, in decibels.

What is rounded otherwise here and there (an average that lies between two steps) adds up in networks that are
hardly trained: right ones had 17 dB and more.
"""

# By name: the operators are there only once `torch.ao` is imported.
_QUANTIZE = "quantized_decomposed.quantize_per_tensor.default"
_DEQUANTIZE = "quantized_decomposed.dequantize_per_tensor.default"


@dataclass(frozen=True)
class Fidelity:
    """The agreement of an int8 network with its reference on some images.

    Attributes:
        decibels: Power of what the reference returns over that of the difference; infinite without any.
        steps: The largest difference of an operation's output, both reading the same, in steps of its scale.
        worst: The operation of that difference, by its module's path.
        compared: The operations that were compared.
    """

    decibels: float
    steps: float
    worst: str
    compared: int


def check(
    executed: fx.GraphModule, reference: fx.GraphModule, images: Tensor, *, narrow: bool = False
) -> Fidelity:
    """Hold an int8 network against its reference.

    Args:
        executed: The converted graph.
        reference: `searcher.compression.engines.fx_reference.decomposed` of the same observed graph.
        images: Calibration images (N, C, H, W).
        narrow: Whether codes have less than 8 bits: a step is so much of their range then that what lies
            between two of them, and is rounded either way, says nothing of the whole network.

    Raises:
        TrialError: They do not agree; names the first module that parts.
    """
    found = compare(executed, reference, images)
    if found.steps > MAX_STEPS:
        raise TrialError(
            f"int8: {found.worst} differs from exact arithmetic by {_whole(found.steps)} steps of its scale, "
            f"at most {MAX_STEPS} are rounding"
        )
    if found.decibels < MIN_DB and not narrow:
        raise TrialError(
            f"int8: the network differs from exact arithmetic by {found.decibels:.1f} dB, expected at least "
            f"{MIN_DB:.0f}; the most in {found.worst}"
        )
    return found


def _whole(steps: float) -> str:
    """Steps beyond the bound, rounded up: 2.3 is not 2."""
    return str(math.ceil(steps)) if math.isfinite(steps) else "inf"


@torch.no_grad()
def compare(executed: fx.GraphModule, reference: fx.GraphModule, images: Tensor) -> Fidelity:
    """The same as `check`, whatever comes of it; the worst is the first that parts, where one does."""
    recorded = _Recorded(executed)
    returned = recorded.run(images)
    forced = _Forced(reference, recorded)
    forced.run(images)
    wanted = reference(images)
    parted = [name for name, steps in forced.steps.items() if steps > MAX_STEPS]
    worst = parted[0] if parted else max(forced.steps, key=forced.steps.__getitem__, default="")
    return Fidelity(
        min(map(decibels, tensors_in(wanted), tensors_in(returned)), default=math.inf),
        forced.steps.get(worst, 0.0),
        without_wrappers(forced.paths.get(worst, worst)),
        len(forced.steps),
    )


def decibels(wanted: Tensor, found: Tensor) -> float:
    """The power of a signal over that of what differs from it, in decibels; infinite where nothing does."""
    difference = float((wanted.double() - found.double()).square().sum())
    power = float(wanted.double().square().sum())
    if not difference:
        return math.inf
    return 10 * math.log10(power / difference) if power else -math.inf


class _Recorded(fx.Interpreter):
    """Runs an int8 graph and keeps what every node has written, in floating point.

    Attributes:
        values: By the node's name.
        scales: Scale and zero point, by the node's name, of what is quantized.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, Tensor] = {}
        self.scales: dict[str, tuple[float, int]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            # What is quantized, and held in fewer bits, is kept as it is read from then on.
            source = n
            while source.target is torch.quantize_per_tensor or saturates(source):
                source = source.all_input_nodes[0]
            self.values[source.name] = value.dequantize() if value.is_quantized else value
            if value.is_quantized:
                self.scales[source.name] = value.q_scale(), value.q_zero_point()
        return value

    def joined(self, reference: fx.GraphModule) -> dict[tuple[float, int], list[Tensor]]:
        """What nodes of other names than the reference's have written, by scale and zero point, in order.

        Such a node is several of the reference in one.
        """
        named = {node.name for node in reference.graph.nodes}
        found: dict[tuple[float, int], list[Tensor]] = {}
        for name, scale in self.scales.items():
            if name not in named:
                found.setdefault(scale, []).append(self.values[name])
        return found


def saturates(node: fx.Node) -> bool:
    """Whether a node holds int8 codes in a narrower range, for the one before it."""
    return next(reversed(node.meta.get("nn_module_stack") or {}), "").endswith(SATURATED)


class _Forced(fx.Interpreter):
    """Runs a reference graph whose every operation reads what the int8 network's has read.

    Attributes:
        read: The int8 network's own values, by the node that would quantize the reference's.
        steps: The largest difference of an operation's output, by the node's name.
        paths: The module that a node runs, or that it came from.
    """

    def __init__(self, module: fx.GraphModule, recorded: _Recorded) -> None:
        super().__init__(module)
        self.executed = recorded.values
        self.joined = recorded.joined(module)
        self.read: dict[str, Tensor] = {}
        self.steps: dict[str, float] = {}
        self.paths: dict[str, str] = {}

    def run_node(self, n: fx.Node) -> Any:
        source = n.args[0] if n.args else None
        if not isinstance(source, fx.Node):
            return super().run_node(n)
        if str(n.target) == _DEQUANTIZE and source.name in self.read:
            # What follows reads what the int8 network has read.
            return self.read[source.name]
        value = super().run_node(n)
        if str(n.target) == _QUANTIZE:
            scale, zero_point = float(n.args[1]), int(n.args[2])  # type: ignore[arg-type]
            twin = self._twin(source, (scale, zero_point))
            if twin is not None:
                self.read[n.name] = twin
                self.steps[source.name] = _steps(value, scale, zero_point, twin)
                self.paths[source.name] = _path(source)
        return value

    def _twin(self, node: fx.Node, scale: tuple[float, int]) -> Tensor | None:
        """The int8 network's value in the place of a quantized node; None where that is not known."""
        if node.name in self.executed:
            return self.executed[node.name]
        joined = self.joined.get(scale)
        return joined.pop(0) if joined else None


def _steps(codes: Tensor, scale: float, zero_point: int, twin: Tensor) -> float:
    """The largest difference between codes and what they stand for elsewhere, in steps of their scale."""
    wanted = (codes.float() - zero_point) * scale
    if twin.shape != wanted.shape:
        return math.inf
    return float((wanted - twin).abs().max()) / scale


def _path(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    scope = next(reversed(node.meta.get("nn_module_stack") or {}), "")
    return f"{scope}.{node.name}".lstrip(".")
