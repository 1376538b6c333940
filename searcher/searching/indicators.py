"""Indicators of a search: the hypervolume over time, and the importance of parameters."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from searcher.config.study import Study
from searcher.searching.hypervolume import MARGIN, dominated
from searcher.searching.pareto import violation
from searcher.searching.records import TrialRecord

MIN_TRIALS = 10
"""Complete trials from which on importances are worth a look: the better half is five."""

_FEW = re.compile(r"Some regimes for parameter `(.+)` have less than \d+ trials")
# The sign of the target sees to it.
_MINIMISED = "PedAnovaImportanceEvaluator computes the importances of params to achieve low `target` values"

BETTER = 5
"""Trials among the better ones that PED-ANOVA is stable from, by its documentation."""


@dataclass(frozen=True)
class Hypervolume:
    """The hypervolume that the feasible trials dominate, after each complete trial.

    Attributes:
        reference: The worst value of each objective among the complete trials, and a tenth of its range
            beyond, so that a trial which is worst in one objective counts.
        trials: Their numbers.
        shares: Of the box between the reference and the best value of each objective, between 0 and 1.
        seconds: What the trials had taken by then, summed; None where one of them does not say.
    """

    reference: list[float]
    trials: list[int]
    shares: list[float]
    seconds: list[float] | None


def hypervolume(study: Study, trials: Sequence[FrozenTrial]) -> Hypervolume | str:
    """The hypervolume over time of a study's complete trials, or why there is none."""
    if len(study.objectives) < 2:
        return "one objective spans no hypervolume; its history says it all"
    if len(trials) < 2:
        return "it takes two complete trials"
    signs = np.array([o.sign for o in study.objectives])
    losses = np.array([t.values for t in trials]) * signs
    best, span = losses.min(0), np.ptp(losses, 0)
    if not span.all():
        return "all complete trials have the same value of an objective"
    worst = losses.max(0) + MARGIN * span
    feasible = np.array([violation(study, t) <= 0 for t in trials])
    box = float(np.prod(worst - best))
    shares = [volume / box for volume in dominated(losses, feasible, worst)]
    reference = [float(value) for value in worst * signs]
    return Hypervolume(reference, [t.number for t in trials], shares, _seconds(trials))


def _seconds(trials: Sequence[FrozenTrial]) -> list[float] | None:
    taken = [TrialRecord.of(t).seconds for t in trials]
    if None in taken:
        return None
    return [float(value) for value in np.cumsum(np.array(taken, dtype=float))]


@dataclass(frozen=True)
class Importances:
    """The share of each parameter, and the parameters that too few trials had to be sure of theirs."""

    shares: dict[str, float]
    unsure: frozenset[str]


def importances(
    study: Study, stored: optuna.Study, trials: Sequence[FrozenTrial], position: int
) -> Importances | str:
    """The share of each parameter in reaching the best values of an objective, or why it is not known.

    PED-ANOVA (Watanabe et al. 2023, conditional parameters included), in Optuna's implementation: how much a
    parameter's distribution among the best trials differs from that among all.
    """
    if len(trials) < MIN_TRIALS:
        return f"too few complete trials: {len(trials)}, it takes {MIN_TRIALS}"
    # Not before: it takes scipy and scikit-learn, which the hypervolume does without.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    sign = study.objectives[position].sign
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(0.1, BETTER / len(trials)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            shares = get_param_importances(
                stored, evaluator=evaluator, target=lambda t: sign * float(t.values[position])
            )
        except (ValueError, RuntimeError) as error:
            return f"Optuna could not compute it: {error}"
    return Importances(shares, _unsure([str(warning.message) for warning in caught]))


def _unsure(messages: Sequence[str]) -> frozenset[str]:
    found = [match[1] for text in messages if (match := _FEW.match(text))]
    strange = [text for text in messages if not _FEW.match(text) and not text.startswith(_MINIMISED)]
    for text in strange:
        warnings.warn(text, stacklevel=3)
    return frozenset(found)
