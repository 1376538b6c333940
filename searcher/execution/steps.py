"""Steps that take a while, said as they begin, and the images that they have gone through."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import nn


class Step(Protocol):
    """Takes the name of a step that begins; of one that is counted, how many images of how many are done."""

    def __call__(self, name: str, done: int = 0, count: int = 0) -> None:
        """Say so."""


def unsaid(name: str, done: int = 0, count: int = 0) -> None:
    """Say nothing."""


@contextmanager
def counted(step: Step, name: str, count: int, *networks: nn.Module) -> Iterator[None]:
    """Say a step, and after each batch the images that networks have been given in it.

    Args:
        step: Told.
        name: Of the step.
        count: The images that the networks will be given, all of them together.
        networks: Called as modules, with the images first.
    """
    done = 0

    def passed(network: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        nonlocal done
        done = min(done + sum(map(len, inputs[:1])), count)
        step(name, done, count)

    step(name, 0, count)
    handles = [network.register_forward_hook(passed) for network in networks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
