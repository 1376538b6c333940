"""One search of a benchmark by Syne Tune's MO-ASHA, a library with its own multi-objective early stopping.

Its scheduler is driven in this process, which spares it a process a trial. It judges a trial by the error and
by the same predicted cost as ours does, at the same rungs.
"""

import datetime
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

# Installed beside by the benchmark: what it depends on would displace what is pinned here.
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, randint, uniform
from syne_tune.optimizer.scheduler import SchedulerDecision
from syne_tune.optimizer.schedulers.multiobjective.moasha import MOASHA

from benchmarks.searches import Trace, measured
from searcher import tasks
from searcher.compression.teaching import TEACHER
from searcher.config.recipe import Recipe
from searcher.config.study import Study
from searcher.errors import TrialError
from searcher.execution.worker import cpu_seconds
from searcher.searching.check import check_parts
from searcher.searching.screening import Screen


class _Stopped(Exception):
    """The scheduler stops a trial."""


class Peer:
    """The scheduler, and the trials that it starts."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._task = tasks.entry(study.task).load().trained_on(study.budget.train_images)
        self._suggest, self._screen = check_parts(study).suggest, Screen(study)
        np.random.seed(study.seed)
        self._scheduler = MOASHA(
            flat(self._suggest),
            metrics=["error", "cost"],
            time_attr="epoch",
            max_t=10 * study.budget.epochs,
            grace_period=study.early_stopping.rungs(study.budget.epochs)[0],
            reduction_factor=study.early_stopping.reduction_factor,
            random_seed=study.seed,
        )

    def search(self, seconds: float, enough: Callable[[Trace], bool]) -> dict[str, Any]:
        """Search until the trace is enough, or the processor time is spent."""
        begun, clock = cpu_seconds(), time.monotonic()
        trace: Trace = []
        counts = {"complete": 0, "stopped early": 0, "failed": 0}
        while cpu_seconds() - begun < seconds and not (trace and enough(trace)):
            try:
                trace.append((0.0, self._trial(sum(counts.values()))))
            except _Stopped:
                counts["stopped early"] += 1
            except TrialError:
                counts["failed"] += 1
            else:
                counts["complete"] += 1
                trace[-1] = (cpu_seconds() - begun, trace[-1][1])
        return {"trace": trace, "counts": counts, "wall_seconds": time.monotonic() - clock}

    def _trial(self, number: int) -> dict[str, float]:
        suggested = self._scheduler.suggest().config
        config = {key: v.item() if isinstance(v, np.generic) else v for key, v in suggested.items()}
        trial = Trial(number, config, datetime.datetime.now())
        self._scheduler.on_trial_add(trial)
        recipe = self._suggest(optuna.trial.FixedTrial(config))
        predicted = self._screen.look(recipe).predicted
        done = 0

        def report(stage: str, epoch: int, epochs: int, accuracy: float) -> None:
            nonlocal done
            if epoch and stage != TEACHER:
                done += 1
                error, cost = self._screen.point(accuracy, predicted)
                result = {"epoch": done, "error": error, "cost": cost}
                if self._scheduler.on_trial_result(trial, result) == SchedulerDecision.STOP:
                    raise _Stopped

        return measured(recipe, self._study, self._task, report)


def flat(suggest: Callable[[Any], Recipe]) -> dict[str, Any]:
    """Every parameter that a conditional space may suggest, for a library that wants them beforehand."""
    known: dict[str, Any] = {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(200):
        trial = study.ask()
        suggest(trial)
        for name, distribution in trial.distributions.items():
            match distribution:
                case CategoricalDistribution():
                    known[name] = choice(list(distribution.choices))
                case IntDistribution():
                    known[name] = randint(distribution.low, distribution.high)
                case FloatDistribution():
                    known[name] = uniform(distribution.low, distribution.high)
    return known
