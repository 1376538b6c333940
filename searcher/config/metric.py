"""Metrics of a study: with a goal, and with a bound, which may be relative to the model as it came."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, PrivateAttr, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Metric(_Frozen):
    """A metric by name; a score also says by which variant's rules it is counted."""

    metric: str = Field(description="name of [a metric](#metrics)")
    variant: str | None = Field(default=None, description="of a score, [the rules](#score-variants)")

    @property
    def key(self) -> str:
        """The name under which the figure is stored: a score always carries its variant."""
        return f"{self.metric}:{self.variant}" if self.variant else self.metric


def named(key: str) -> Metric:
    """The metric of a key: its name, and its variant where it has one."""
    name, _, variant = key.partition(":")
    return Metric(metric=name, variant=variant or None)


class Objective(Metric):
    """A metric with a goal."""

    goal: Literal["maximize", "minimize"] = Field(description="the better direction")

    @property
    def sign(self) -> int:
        """The factor that turns a value into one to be minimised."""
        return 1 if self.goal == "minimize" else -1


_TIMES = re.compile(r"(\d+\.?\d*|\.\d+)x")


def _limit(value: Any) -> float | str | None:
    if value is None or (isinstance(value, str) and _TIMES.fullmatch(value)):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError('input should be a finite number, or as many times the model as it came, e.g. "0.5x"')


Limit = Annotated[float | str | None, PlainValidator(_limit, json_schema_input_type=float | str | None)]
"""A number, or how many times the figure of the model as it came: ``"0.5x"``."""


class Constraint(Metric):
    """A metric with a bound, of one of three kinds.

    A bound that is relative to the model as it came binds once that figure is known (`Study.learn`).
    """

    at_least: Limit = Field(
        default=None, description='the least number, or so many times the model as it came: `"2x"`'
    )
    at_most: Limit = Field(
        default=None, description='the largest number, or so many times the model as it came: `"0.5x"`'
    )
    at_most_drop: float | None = Field(
        default=None, ge=0, description="how far it may fall below the figure of the model as it came"
    )
    _came_with: float | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_bound(self) -> "Constraint":
        if sum(limit is not None for limit in (self.at_least, self.at_most, self.at_most_drop)) != 1:
            raise ValueError("give one of at_least and at_most, or at_most_drop")
        return self

    @property
    def is_lower(self) -> bool:
        """Whether values below the bound violate it."""
        return self.at_most is None

    @property
    def is_relative(self) -> bool:
        """Whether the bound is one to the figure of the model as it came."""
        return isinstance(self._limit, str) or self.at_most_drop is not None

    @property
    def _limit(self) -> float | str | None:
        return self.at_most if self.at_least is None else self.at_least

    def learn(self, came_with: Mapping[str, float]) -> None:
        """Have the bound know a figure of the model as it came, if it is there."""
        self._came_with = came_with.get(self.key, self._came_with)

    @property
    def binds(self) -> bool:
        """Whether the bound is a number by now."""
        return not self.is_relative or self._came_with is not None

    @property
    def bound(self) -> float:
        """The bound, whichever side it is on; NaN while nothing is known to which it is relative."""
        if not self.is_relative:
            assert isinstance(self._limit, float)
            return self._limit
        if self._came_with is None:
            return math.nan
        if self.at_most_drop is not None:
            return self._came_with - self.at_most_drop
        return float(str(self._limit).removesuffix("x")) * self._came_with

    def violation(self, value: float) -> float:
        """The distance of a value beyond the bound, in the metric's unit; 0 or less is feasible."""
        if not self.binds:
            return 0.0
        return self.bound - value if self.is_lower else value - self.bound

    @property
    def name(self) -> str:
        """The constraint as it was given, whatever the model came with: ``macs <= 0.5x``."""
        if self.at_most_drop is not None:
            return f"{self.key} >= -{self.at_most_drop:g}"
        return f"{self.key} {'>=' if self.is_lower else '<='} {self._limit}"

    def __str__(self) -> str:
        """The constraint as a user reads it: ``top1 >= 0.9``, ``macs <= 0.5x (20,600,000)``."""
        if not self.is_relative:
            return self.name
        known = f"{self.bound:,.0f}" if abs(self.bound) >= 1000 else f"{self.bound:.4g}"
        return f"{self.name} ({known if self.binds else 'of the model as it came'})"
