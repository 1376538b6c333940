"""The pipe between a trial's process and the driver that forked it."""

import os
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

from searcher.execution.messages import Outcome, Progress


class Pipe:
    """A channel to the process that has started this one; this one ends when the other end closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._answers: SimpleQueue[bool] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, said: Progress | Outcome) -> None:
        """Send it."""
        self._connection.send(said)

    def wait(self, rung: int) -> None:
        """Wait for the next answer."""
        self._answers.get()

    def _listen(self) -> None:
        try:
            while True:
                self._answers.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(1)
