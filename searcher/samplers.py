"""Optuna's samplers by name, with their options."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from searcher.errors import SearcherError, unknown
from searcher.storage import experimental
from searcher.study import Sampler

SAMPLERS: dict[str, tuple[Callable[..., optuna.samplers.BaseSampler], dict[str, Any]]] = {
    # The whole space at once, split into the groups that its conditions make.
    "tpe": (optuna.samplers.TPESampler, {"multivariate": True, "group": True}),
    "nsga2": (optuna.samplers.NSGAIISampler, {}),
    "gp": (optuna.samplers.GPSampler, {}),
    "random": (optuna.samplers.RandomSampler, {}),
}
"""The class, and the options that are set unless the study gives others."""


def make(asked: Sampler, seed: int, ordinal: int) -> optuna.samplers.BaseSampler:
    """The sampler of one trial, whose suggestions depend on the seed, the ordinal and what is stored.

    Raises:
        SearcherError: An option that the sampler does not have, or a value that it does not take.
    """
    sampler, defaults = SAMPLERS[asked.name]
    known = set(inspect.signature(sampler).parameters) - {"seed"}
    for name in asked.options:
        if name not in known:
            raise unknown(f"option of sampler {asked.name}", name, known)
    own = int(np.random.SeedSequence([seed, ordinal]).generate_state(1)[0])
    try:
        with experimental():
            return sampler(**{**defaults, **asked.options}, seed=own)
    except (TypeError, ValueError) as error:
        raise SearcherError(f"sampler {asked.name}: {error}") from error
