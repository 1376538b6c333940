"""Checkpoints of a run: its trainings after their last whole epoch, and what else took it long to make."""

import re
from pathlib import Path
from typing import Any

import torch

from searcher.files import in_one_step


class Checkpoints:
    """The states of a run's trainings, in the order in which it makes them; others by name.

    A run that starts again makes the same trainings: one that was finished is loaded, one that was cut off
    goes on from its last epoch.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        folder.mkdir(parents=True, exist_ok=True)

    def next(self, stage: str) -> "Checkpoint":
        """The state of the next training."""
        name = re.sub(r"\W+", "-", stage)
        self._count += 1
        return Checkpoint(self.folder / f"{self._count:02}-{name}.pt")

    def named(self, name: str) -> "Checkpoint":
        """A state that is found by its name, whatever is trained before it."""
        return Checkpoint(self.folder / f"{name}.pt")


class Checkpoint:
    """One state in one file; without a path nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """The state, or None where there is none that can be read."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
        except Exception:  # a damaged file is as good as none
            self.path.unlink()
            return None
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write the state in one step."""
        if self.path is None:
            return
        with in_one_step(self.path) as part:
            torch.save(state, part)
