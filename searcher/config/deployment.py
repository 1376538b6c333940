"""The conditions under which a finished model's latency and memory are measured."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Deployment(BaseModel):
    """The conditions of an inference.

    Attributes:
        batch: Images a run.
        threads: Threads of the processor.
        device: Where it runs.
        warmup: Runs before those that are timed.
        runs: Runs that are timed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    batch: int = Field(default=1, ge=1)
    threads: int = Field(default=1, ge=1, le=1024)
    device: Literal["cpu", "cuda"] = "cpu"
    warmup: int = Field(default=10, ge=0)
    runs: int = Field(default=50, ge=1)
