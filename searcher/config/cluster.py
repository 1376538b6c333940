"""Resources that a trial asks a cluster for: the `[cluster]` table of a study."""

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def minutes(time: object) -> object:
    """Minutes from a number of them, or from Slurm's ``MM:SS``, ``HH:MM:SS``, ``D-HH``, ``D-HH:MM``...

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(time, str):
        return time
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time.strip())
    if not match:
        raise ValueError(
            f"{time!r} is no time: expected minutes, or HH:MM:SS, or D-HH:MM:SS, as Slurm has it"
        )
    days, *rest = match.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, mins, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, mins, seconds = 0, *[*numbers, 0][:2]
    return (int(days or 0) * 24 + hours) * 60 + mins + (seconds + 59) // 60


def megabytes(memory: object) -> object:
    """Megabytes from a number of them, or from ``500M``, ``16G``, ``16GB``, ``1T``, as Slurm takes them.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(memory, str):
        return memory
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([MGT]?)B?\s*", memory.upper())
    if not match:
        raise ValueError(f"{memory!r} is no memory: expected megabytes, or a size such as 16G")
    return round(float(match[1]) * {"": 1, "M": 1, "G": 1024, "T": 1024**2}[match[2]])


class Cluster(BaseModel):
    """The resources of a job, which runs one trial, or `trials_per_gpu` of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    jobs: int = Field(default=16, ge=1, description="jobs that are submitted at a time, queued or running")
    partition: str | None = Field(default=None, description="Slurm's partition; by default the site's")
    account: str | None = Field(default=None, description="the account that Slurm charges")
    constraint: str | None = Field(default=None, description="features of a node, such as `a100`")
    gpus: int = Field(default=0, ge=0, description="GPUs a job")
    trials_per_gpu: int | None = Field(
        default=None,
        ge=1,
        description="trials that share a job and each of its GPUs, by default one; without a cluster 8 where "
        "MPS can be had, else 2",
    )
    cpus: int = Field(default=1, ge=1, description="cores a trial, which are its threads")
    mem: Annotated[int, BeforeValidator(megabytes), Field(ge=1)] | None = Field(
        default=None, description='memory a job in MB, or as Slurm writes it: `"16G"`'
    )
    time: Annotated[int, BeforeValidator(minutes), Field(ge=1)] = Field(
        default=240, description='limit of a job in minutes, or as Slurm writes it: `"2:00:00"`'
    )
    setup: tuple[str, ...] = Field(
        default=(), description='shell lines that a job starts with: `"module load cuda"`'
    )
    poll: float = Field(default=15.0, gt=0, description="seconds between two questions to the cluster")

    @property
    def trials_per_job(self) -> int:
        """The number of trials that share a job."""
        return (self.trials_per_gpu or 1) * max(1, self.gpus)
