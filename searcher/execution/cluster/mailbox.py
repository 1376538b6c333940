"""File-based messages between a trial in a cluster's job and its driver."""

import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from searcher.execution.layout import SAID
from searcher.execution.messages import Done, Failed, GpuMemory, Job, Killed, Outcome, Progress
from searcher.execution.results import stored_outcome

_GO_ON, _STOP = "go-on-{}", "stop"
INTERVAL = 1.0
"""Seconds between two looks at a file that somebody else writes."""
PATIENCE = 600.0
"""Seconds that a trial waits at a rung for a driver that may be gone; another one goes on from there."""


@dataclass(frozen=True)
class Host:
    """The start of a trial.

    Attributes:
        name: The host's name.
        pid: The trial's process there.
        ahead: Seconds that the host's clock is ahead of the file system's.
    """

    name: str
    pid: int
    ahead: float


class Files:
    """The trial's end: a file that it appends to, and others that it looks for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self) -> None:
        """Say where the trial runs."""
        self._say("host", asdict(Host(socket.gethostname(), os.getpid(), 0.0)))
        ahead = time.time() - (self._folder / SAID).stat().st_mtime
        self._say("host", asdict(Host(socket.gethostname(), os.getpid(), ahead)))

    def obey(self) -> None:
        """End this process when the driver asks for it."""
        threading.Thread(target=self._end_when_asked, daemon=True).start()

    @property
    def asked_to_stop(self) -> bool:
        """Whether the driver does not want this trial any more."""
        return (self._folder / _STOP).exists()

    def _end_when_asked(self) -> None:
        while not self.asked_to_stop:
            time.sleep(INTERVAL)
        os._exit(0)

    def send(self, said: Progress | Outcome) -> None:
        """Append what happened."""
        self._say(type(said).__name__, {} if isinstance(said, Done) else _without_nan(asdict(said)))

    def wait(self, rung: int) -> None:
        """Return when the driver lets the trial go on; where it does not answer, end this process."""
        begun = time.monotonic()
        while not (self._folder / _GO_ON.format(rung)).exists():
            if time.monotonic() - begun > PATIENCE:
                self._say("Left", {})
                os._exit(0)
            time.sleep(INTERVAL)

    def _say(self, kind: str, content: dict[str, Any]) -> None:
        line = json.dumps({"kind": kind} | content) + "\n"
        with (self._folder / SAID).open("a", encoding="utf-8") as file:
            file.write(line)


def _without_nan(content: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in content.items()}


def _memory(said: dict[str, Any]) -> GpuMemory | None:
    return GpuMemory(**said["gpu"]) if said.get("gpu") else None


class Mailbox:
    """The driver's end: reads what was appended since the last look, and leaves files."""

    def __init__(self, folder: Path, job: Job, met: Callable[[Host], None]) -> None:
        self._folder, self._job, self._met = folder, job, met
        self._offset = 0
        self.begun = self.done = False

    def read(self) -> list[Progress | Outcome]:
        """The events; an outcome comes last."""
        events: list[Progress | Outcome] = []
        for line in self._lines():
            event = self._understood(json.loads(line))
            if event:
                events.append(event)
        return events

    def _lines(self) -> list[str]:
        try:
            # Opened, not asked for its size: of a file that it opens an NFS client asks the server.
            with (self._folder / SAID).open("rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode().splitlines()

    def _understood(self, said: dict[str, Any]) -> Progress | Outcome | None:
        kind = said.pop("kind")
        match kind:
            case "Progress":
                accuracy = math.nan if said["accuracy"] is None else said["accuracy"]
                return Progress(**said | {"accuracy": accuracy, "gpu": _memory(said)})
            case "Failed":
                return Failed(**said | {"gpu": _memory(said)})
            case "Done":
                self.done = True
                return self.result()
            case "Left":
                return Killed("no driver answered it at its rung", counts=False)
            case "host":
                self.begun = True
                self._met(Host(**said))
        return None

    def result(self) -> Done | None:
        """The trial's stored outcome, if it got that far."""
        return stored_outcome(self._job.folder, self._job.recipe)

    def go_on(self, rung: int) -> None:
        """Let the trial go on at a rung."""
        (self._folder / _GO_ON.format(rung)).touch()

    def stop(self) -> None:
        """Tell the trial to end, also where it has not started yet."""
        forbid(self._folder)

    @property
    def stopped(self) -> bool:
        """Whether the trial was told to end."""
        return (self._folder / _STOP).exists()


def forbid(folder: Path) -> None:
    """Tell the trial of a folder to end, and not to begin where it has not."""
    with contextlib.suppress(FileNotFoundError):
        (folder / _STOP).touch()
