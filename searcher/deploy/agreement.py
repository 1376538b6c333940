"""An ONNX file held against the network that it was made of."""

from dataclasses import dataclass

import torch
from torch import nn

from searcher.compression.engines.fidelity import decibels
from searcher.compression.network import Network
from searcher.costs.counting.tensors import tensors_in
from searcher.deploy.onnx import Runtime
from searcher.execution.quality import CPU, read
from searcher.execution.steps import Step, counted, unsaid
from searcher.tasks.base import Split, Task
from searcher.wording import EXACT

MIN_EQUAL_SHARE = 0.95
"""Of equal predictions: right int8 files had 0.97 and more, even of networks of one epoch, whose classes are
near each other; a file of other weights has no more than chance."""

MIN_DECIBELS = 15.0
"""Of what the network and the file return: tells them apart also where both predict one class alone."""

_COMPARED_IMAGES = 64
"""Images whose outputs are compared as they are."""


@dataclass(frozen=True)
class Agreement:
    """An ONNX file against the network that it was made of.

    Attributes:
        metric: What the quality is: the task's own figure.
        quality: Of the network, between 0 and 1.
        quality_onnx: Of the file.
        equal_share: The share of its predictions in which the file is at one with the network.
        decibels: The power of the network's outputs over that of the difference, at most `EXACT`, on a few
            images; None where a version before has not measured it.
    """

    metric: str
    quality: float
    quality_onnx: float
    equal_share: float
    decibels: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the file computes what the network does."""
        near = self.decibels is None or self.decibels >= MIN_DECIBELS
        return near and self.equal_share >= MIN_EQUAL_SHARE


@torch.no_grad()
def agreement(
    network: Network,
    runtime: Runtime,
    task: Task,
    split: Split,
    device: torch.device = CPU,
    name: str = "check an ONNX file",
    step: Step = unsaid,
) -> Agreement:
    """Run a network and a file on every image of a split.

    Args:
        network: What is executed of it is held against the file.
        runtime: The file.
        task: The network's.
        split: The images.
        device: A network in floating point predicts on it; outputs are compared on the CPU.
        name: Of the step that this is.
        step: Told of the images that are done.
    """
    executed = network.executed.eval()
    images = task.normalise(split.images[:_COMPARED_IMAGES])
    near = min(map(decibels, tensors_in(executed(images)), tensors_in(runtime(images))))

    def compared(model: nn.Module) -> tuple[float, float, float]:
        with counted(step, name, 2 * len(split), model, runtime):
            return task.compare(model, runtime, split)

    own, theirs, share = read(network, device, compared, name, step)
    return Agreement(task.figure, own, theirs, share, max(-EXACT, min(near, EXACT)))
