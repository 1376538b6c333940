"""The interface of what runs jobs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from searcher.config.cluster import Cluster

Function = Callable[..., None]


class Unreachable(Exception):
    """The backend does not answer."""


@dataclass(frozen=True)
class End:
    """Why a job is over.

    Attributes:
        reason: In words.
        counts: Whether the trial may be to blame, so that its attempts are counted.
        well: Whether the job ended as it should.
    """

    reason: str
    counts: bool = True
    well: bool = False


class Jobs(ABC):
    """A backend that runs jobs, on hosts that share the driver's file system.

    A job runs a function in `tasks` processes, each with its rank. It is known by its id, and by a name of
    its own, under which it can be found where whoever submitted it died before the id was written down.

    Attributes:
        survive: Whether jobs go on where the process that submitted them ends.
        host_bound: Whether jobs that go on can be found from the host alone that submitted them.
        inside: Whether they run in the driver's own process, which cannot answer them meanwhile.
        polled: Whether they are asked about every `cluster.poll` seconds, as a service has to be spared;
            else at every look.
    """

    survive: ClassVar[bool] = True
    host_bound: ClassVar[bool] = False
    inside: ClassVar[bool] = False
    polled: ClassVar[bool] = True

    @abstractmethod
    def submit(
        self, cluster: Cluster, folder: Path, name: str, tasks: int, function: Function, *args: Any
    ) -> str:
        """Submit a job whose files go into a folder of its own; its id.

        Raises:
            Unreachable: It has to be tried again; the job may have been submitted all the same.
            SearcherError: It is refused.
        """

    @abstractmethod
    def named(self, folder: Path, name: str) -> str | None:
        """The id of a job by its folder and name, if it was submitted.

        Raises:
            Unreachable: It cannot be known at the moment.
        """

    @abstractmethod
    def ended(self, ids: Sequence[str]) -> tuple[dict[str, End], str]:
        """Why jobs are over, of those that are; and what stands in the way of knowing more.

        Raises:
            Unreachable: It cannot be known at the moment.
        """

    @abstractmethod
    def cancel(self, ids: Sequence[str]) -> None:
        """End jobs.

        Raises:
            Unreachable: They cannot be ended at the moment.
        """

    @staticmethod
    @abstractmethod
    def rank() -> int:
        """The number of this process among the tasks of its job, from 0; asked inside the job."""

    def grace_s(self, end: End) -> float:
        """Seconds after a job's end in which what its trials have written may still be on its way."""
        return 0.0
