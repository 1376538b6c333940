"""The conditions under which a finished model's latency and memory are measured."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Deployment(BaseModel):
    """The conditions of an inference."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    batch: int = Field(default=1, ge=1, description="images a run")
    threads: int = Field(default=1, ge=1, le=1024, description="threads of the processor")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="where it runs")
    warmup: int = Field(default=10, ge=0, description="runs before those that are timed")
    runs: int = Field(default=50, ge=1, description="runs that are timed")
