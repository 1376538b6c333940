"""The weights that a run began with, for a stage that goes back to them."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from searcher.compression.engines.labels import Kept
from searcher.compression.training import Run, epochs_of
from searcher.config.recipe import Stage, Training
from searcher.config.stages.pruning import Pruning

REWOUND = "rewind"
"""The stage under which the training to an early epoch is reported, without epochs of the network's own."""


@dataclass(frozen=True)
class Origin:
    """Where the weights of a run come from.

    Attributes:
        stages: The run's, of which the first ones only train.
        begun: Makes the network that the run began with.
        drawn: Makes it with random weights, of torch's generator.
        trained: The network after the first stage, from the one that the run began with.
    """

    stages: tuple[Stage, ...]
    begun: Callable[[], nn.Module]
    drawn: Callable[[], nn.Module]
    trained: Callable[[nn.Module, Run], nn.Module]

    def __call__(self, stage: Pruning, run: Run) -> nn.Module:
        """The network whose weights those that a stage leaves are given, on the CPU."""
        cuda = [run.device] if run.device.type == "cuda" else []
        # What follows draws the same numbers, whether this was trained or found.
        with torch.random.fork_rng(devices=cuda):
            if stage.after == "reinitialize":
                torch.manual_seed(run.seed * 2**32 + zlib.crc32(stage.after.encode()))
                return self.drawn().cpu()
            torch.manual_seed(run.seed)
            if not stage.rewind_to:
                return self.begun().cpu()
            first = self.stages[0]
            share = first.share if isinstance(first, Training) else 0.0
            until = epochs_of(stage.rewind_to, run.epochs_of(share))

            def report(name: str, epoch: int, epochs: int, accuracy: float) -> None:
                run.report(REWOUND, 0, until, float("nan"))

            early = replace(run, until=until, report=report, replay=lambda *point: None)
            return self.trained(self.begun(), early).cpu()


def weights(stage: Pruning, run: Run) -> nn.Module | None:
    """The network whose weights those that a stage leaves are given; None where they go on from their own."""
    if stage.after == "finetune":
        return None
    assert run.origin is not None, "the pipeline sets it"
    return run.origin(stage, run)


def redrawn(network: nn.Module) -> nn.Module:
    """The network, whose modules have drawn their weights again as torch's do."""
    for module in network.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
    return network


@torch.no_grad()
def give(network: nn.Module, weights: nn.Module, left: Kept | None = None) -> None:
    """Give a network the weights and buffers of one that it was cut from, where they are left of it.

    Args:
        network: Gets them, in place.
        weights: Has them, on the CPU.
        left: Positions in the flattened tensors of the latter, by name; all of them where it is not given.
    """
    source = _tensors(weights)
    for name, tensor in _tensors(network).items():
        values = source[name].detach()
        tensor.copy_(values.flatten()[left[name]] if left is not None and name in left else values)


def _tensors(network: nn.Module) -> Mapping[str, Tensor]:
    parameters = network.named_parameters(remove_duplicate=False)
    return {**dict(parameters), **dict(network.named_buffers(remove_duplicate=False))}
