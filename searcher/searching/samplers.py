"""Optuna's samplers by name, with their options."""

import inspect
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import optuna

from searcher.config.study import Sampler
from searcher.errors import SearcherError, unknown
from searcher.searching.space import Suggest
from searcher.searching.storage.studies import experimental

SAMPLERS: dict[str, tuple[Callable[..., optuna.samplers.BaseSampler], dict[str, Any]]] = {
    # The whole space at once, split into the groups that its conditions make.
    "tpe": (optuna.samplers.TPESampler, {"multivariate": True, "group": True}),
    "nsga2": (optuna.samplers.NSGAIISampler, {}),
    "gp": (optuna.samplers.GPSampler, {}),
    "random": (optuna.samplers.RandomSampler, {}),
}
"""The class, and the options that are set unless the study gives others."""


TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}
"""The types that a study's file may give for a sampler's options."""

STARTUP_TRIALS, MAX_STARTUP_TRIALS = 10, 50
"""Trials that a sampler draws at random where its options do not say otherwise, and that it may here."""


def make(asked: Sampler, seed: int, ordinal: int) -> optuna.samplers.BaseSampler:
    """The sampler of one trial, whose suggestions depend on the seed, the ordinal and what is stored.

    Raises:
        SearcherError: An option that the sampler does not have, or a value that it does not take.
    """
    sampler, defaults = SAMPLERS[asked.name]
    parameters = dict(inspect.signature(sampler).parameters)
    known = set(parameters) - {"seed"}
    for name, value in asked.options.items():
        if name not in known:
            raise unknown(f"option of sampler {asked.name}", name, known)
        _check_type(asked.name, name, value, str(parameters[name].annotation))
    own = int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])
    try:
        with experimental():
            return sampler(**{**defaults, **asked.options}, seed=own)
    except (TypeError, ValueError) as error:
        raise SearcherError(f"sampler {asked.name}: {error}") from error


def _check_type(sampler: str, option: str, value: object, annotation: str) -> None:
    """Refuse a value of a type that an option does not take; of its annotation the simple types count."""
    taken = set(re.findall(r"\w+", annotation)) & set(TYPES)
    if "Callable" in annotation or not taken:
        raise SearcherError(f"sampler {sampler}: {option} takes what no file can give, {annotation}")
    types = {kind for name in taken for kind in TYPES[name]}
    if type(value) not in types:
        kinds = " or ".join(sorted(taken))
        raise SearcherError(f"sampler {sampler}: {option} = {value!r}, expected {kinds}")


def check_options(
    asked: Sampler, suggest: Suggest, directions: Sequence[Literal["minimize", "maximize"]]
) -> None:
    """Let a sampler that is given options suggest once, after trials with made-up values.

    Raises:
        SearcherError: It cannot, where trials at random could.
    """
    if not asked.options:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))
        count = min(asked.options.get("n_startup_trials", STARTUP_TRIALS), MAX_STARTUP_TRIALS) + 1
        for number in range(count):
            trial = study.ask()
            try:
                suggest(trial)
            except Exception:  # a configuration that the space cannot make
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, [float(number)] * len(directions))
        study.sampler = make(asked, 0, count)
        try:
            suggest(study.ask())
        except Exception as error:
            given = ", ".join(f"{name} = {value!r}" for name, value in asked.options.items())
            text = f"sampler {asked.name} with {given}: {type(error).__name__}: {error}"
            raise SearcherError(text) from error
