"""Attributes of a stored trial: their keys, and a typed view of what may be missing or damaged."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from searcher.config.recipe import Recipe
from searcher.errors import SearcherError
from searcher.wording import several

RECIPE, METRICS, MEASURED, PREDICTED = "recipe", "metrics", "measured", "predicted"
SECONDS, CPU_SECONDS = "seconds", "cpu_seconds"
OUTCOME, REASON, JOB = "outcome", "reason", "job"
ORDINAL, ATTEMPT, RETRY_OF, PROMOTED_FROM, REUSED = (
    "ordinal",
    "attempt",
    "retry_of",
    "promoted_from",
    "reused",
)
PREFIX_OF, VARIANT_OF, VARIANT = "prefix_of", "variant_of", "variant"
"""The keys of a trial's attributes."""

CAME_WITH = "came_with"
"""The attribute of a study that keeps the figures of its model as it came, by key."""

ORIGIN = (PREFIX_OF, VARIANT_OF, VARIANT)
"""Attributes that name the trial whose first stages or whose trained network another one has."""

_RUNG = "rung:"

STOPPED, INFEASIBLE, FAILED, PUT_BACK = "stopped early", "infeasible", "failed", "put back"
ENDED_EARLY = (STOPPED, INFEASIBLE)
"""Outcomes of trials that Optuna knows as pruned."""


def rung(epochs: int) -> str:
    """The key of the point that a trial had at a rung."""
    return f"{_RUNG}{epochs}"


@dataclass(frozen=True)
class TrialRecord:
    """A trial's attributes. What was not stored is None, or empty."""

    number: int
    stored: Mapping[str, Any]

    @classmethod
    def of(cls, trial: FrozenTrial | Trial) -> "TrialRecord":
        """Of a trial that was stored, or that runs."""
        return cls(trial.number, trial.user_attrs)

    @property
    def recipe(self) -> Recipe:
        """The recipe.

        Raises:
            SearcherError: It was not kept, or is none.
        """
        if not self.has_recipe:
            raise SearcherError(f"trial {self.number} is damaged: its recipe is missing")
        try:
            return Recipe.model_validate(self.stored[RECIPE])
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise SearcherError(
                f"trial {self.number} is damaged or of another version: its recipe is none"
                f"{f', at {where}' if where else ''}"
            ) from error

    @property
    def has_recipe(self) -> bool:
        """Whether something is stored as its recipe."""
        return RECIPE in self.stored

    @property
    def stored_recipe(self) -> Any:
        """The recipe as it is stored, to compare it with others."""
        return self.stored.get(RECIPE)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by key; empty where one of them is no finite number."""
        found = self._content(METRICS)
        return found if all(map(_is_figure, found.values())) else {}

    @property
    def measured(self) -> dict[str, Any]:
        """Further findings of the measurement."""
        return self._content(MEASURED)

    @property
    def seconds(self) -> float | None:
        """The duration of the trial in seconds."""
        return self.stored.get(SECONDS)

    @property
    def outcome(self) -> str | None:
        """The way the trial ended, where it is not complete: `FAILED`, `PUT_BACK` or one of `ENDED_EARLY`."""
        return self.stored.get(OUTCOME)

    @property
    def reason(self) -> str | None:
        """Why it ended so."""
        return self.stored.get(REASON)

    @property
    def job(self) -> dict[str, Any] | None:
        """The place where it runs, as its launcher has written it down."""
        return self.stored.get(JOB)

    @property
    def ordinal(self) -> int:
        """The trial's place among those that are not tried again; -1 where no driver has asked for it."""
        return int(self.stored.get(ORDINAL, -1))

    @property
    def attempt(self) -> int:
        """The number of trials of the same ordinal that were killed before."""
        return int(self.stored.get(ATTEMPT, 0))

    @property
    def retry_of(self) -> int | None:
        """The trial that was put back for this one."""
        return self.stored.get(RETRY_OF)

    @property
    def promoted_from(self) -> int | None:
        """The trial that was stopped at a rung from which this one goes on."""
        return self.stored.get(PROMOTED_FROM)

    @property
    def retried(self) -> bool:
        """Whether its parameters were tried before: put back, or promoted from a rung."""
        return self.retry_of is not None or self.promoted_from is not None

    @property
    def reused(self) -> int | None:
        """The trial of the same recipe whose outcome this one has."""
        return self.stored.get(REUSED)

    @property
    def origin(self) -> dict[str, Any]:
        """Its attributes of `ORIGIN`."""
        return {key: self.stored[key] for key in ORIGIN if key in self.stored}

    @property
    def variant_of(self) -> int | None:
        """The trial whose trained network this one has."""
        return self.stored.get(VARIANT_OF)

    @property
    def is_variant(self) -> bool:
        """Whether it has another trial's trained network."""
        return VARIANT in self.stored

    @property
    def variant_recipe(self) -> str:
        """A variant's digest of the recipe that was expected."""
        return str(self.stored[VARIANT]["recipe"])

    @property
    def expected(self) -> dict[str, float]:
        """A variant's predicted costs, and the qualities that were expected of it, by key."""
        return dict(self.stored[VARIANT]["expected"])

    @property
    def rungs(self) -> dict[int, Sequence[float]]:
        """Its points at every rung that it came to, by the epochs."""
        points = self.stored.items()
        return {int(key[len(_RUNG) :]): value for key, value in points if key.startswith(_RUNG)}

    def _content(self, key: str) -> dict[str, Any]:
        found = self.stored.get(key)
        return found if isinstance(found, dict) else {}


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def damage(trial: FrozenTrial) -> str:
    """The damage of a complete trial in words; empty where it is whole, and of other trials."""
    if trial.state != TrialState.COMPLETE:
        return ""
    record = TrialRecord.of(trial)
    if not record.metrics:
        return "its metrics are missing"
    absent = {text.partition(" ")[0] for text in trial.constraints} - record.metrics.keys()
    if absent:
        return f"it lacks {', '.join(sorted(absent))}"
    if not trial.values:
        return "its values are missing"
    try:
        _ = record.recipe
    except SearcherError:
        return "its recipe is missing"
    return ""


def whole(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials that are not damaged."""
    return [t for t in trials if t.state == TrialState.COMPLETE and not damage(t)]


def damaged(trials: Sequence[FrozenTrial]) -> str:
    """The damaged trials in one line; empty where there are none."""
    found = {t.number: said for t in trials if (said := damage(t))}
    if not found:
        return ""
    some = "; ".join(f"trial {number}: {said}" for number, said in list(found.items())[:3])
    more = "; …" if len(found) > 3 else ""
    return f"{several(len(found), 'trial')} damaged ({some}{more})"


@dataclass(frozen=True)
class Ended:
    """Trials by how they ended. What was put back or has gone on from its rung is among none of them.

    What is `damaged` was complete and cannot be read any more; it does not count.
    """

    complete: list[FrozenTrial]
    stopped: list[FrozenTrial]
    infeasible: list[FrozenTrial]
    failed: list[FrozenTrial]
    damaged: list[FrozenTrial]

    @property
    def counted(self) -> list[FrozenTrial]:
        """The trials that count towards the budget."""
        return [*self.complete, *self.stopped, *self.failed]


def ended(trials: Sequence[FrozenTrial]) -> Ended:
    """All of a study's trials that have ended, by how."""
    outcomes = {t.number: TrialRecord.of(t).outcome for t in trials}
    promoted = {TrialRecord.of(t).promoted_from for t in trials}
    pruned = [t for t in trials if t.state == TrialState.PRUNED and t.number not in promoted]
    return Ended(
        whole(trials),
        [t for t in pruned if outcomes[t.number] != INFEASIBLE],
        [t for t in pruned if outcomes[t.number] == INFEASIBLE],
        [t for t in trials if t.state == TrialState.FAIL and outcomes[t.number] == FAILED],
        [t for t in trials if damage(t)],
    )
