"""One search of a benchmark: by `searcher`, or by a plain Optuna loop that trains every trial to its end.

Both run the same space, task, budget of epochs and seed, one trial at a time on one core, with the same code
for the stages and the measurement. What is recorded is the processor time spent until each measured trial: of
the driver and of its trials, without the import of libraries, which happens once.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
import torch._dynamo  # which an optimizer's first step would import

from searcher import tasks
from searcher.compression.pipeline import run_recipe
from searcher.compression.training import Report, Run
from searcher.config.recipe import Recipe
from searcher.config.study import Sampler, Study
from searcher.errors import TrialError
from searcher.execution.local import Local, start_server
from searcher.execution.measurement import Measurement, measure
from searcher.execution.messages import Outcome
from searcher.execution.worker import cpu_seconds
from searcher.searching import samplers
from searcher.searching.check import check_parts
from searcher.searching.loop import search
from searcher.searching.records import TrialRecord
from searcher.searching.state import State

Trace = list[tuple[float, dict[str, float]]]
"""The processor seconds spent until a trial was measured, and its metrics."""


class Recorder:
    """A view that draws nothing, writes the trace down, and ends the search when that is enough, or its
    time is spent.
    """

    def __init__(self, seconds: float, enough: Callable[[Trace], bool]) -> None:
        self.trace: Trace = []
        self.counts: list[tuple[int, str]] = []
        self._seconds, self._enough = seconds, enough
        self._begun = cpu_seconds()
        self._known = 0

    def update(self, state: State) -> None:
        """End the search when its processor time is spent."""
        running = sum(r.progress.cpu_seconds for r in state.running.values())
        if self._spent(state) + running > self._seconds:
            os.kill(os.getpid(), signal.SIGINT)

    def told(self, state: State, number: int, outcome: Outcome) -> None:
        """Write down what is new among the measured trials."""
        self.counts = state.counts
        for trial in state.complete[self._known :]:
            self.trace.append((self._spent(state), TrialRecord.of(trial).metrics))
        if len(state.complete) > self._known and self._enough(self.trace):
            os.kill(os.getpid(), signal.SIGINT)
        self._known = len(state.complete)

    def _spent(self, state: State) -> float:
        return cpu_seconds() - self._begun + state.cpu_seconds


def ours(study: Study, runs: Path, seconds: float, enough: Callable[[Trace], bool]) -> dict[str, Any]:
    """Search with `searcher` until the trace is enough, or the processor time is spent."""
    start_server()
    tasks.entry(study.task).load()
    recorder = Recorder(seconds, enough)
    begun = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        search(study, runs, Local(1), recorder)
    return {
        "trace": recorder.trace,
        "counts": {name: count for count, name in recorder.counts},
        "wall_seconds": time.monotonic() - begun,
    }


def plain(study: Study, sampler: str) -> dict[str, Any]:
    """Search with a plain Optuna loop: every trial from scratch to the end, in this process."""
    task = tasks.entry(study.task).load().trained_on(study.budget.train_images)
    suggest = check_parts(study).suggest
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    directions = [o.goal for o in study.objectives]
    stored = optuna.create_study(directions=directions)
    begun, clock = cpu_seconds(), time.monotonic()
    trace: Trace = []
    failed = 0
    for ordinal in range(study.budget.trials):
        stored.sampler = samplers.make(Sampler(name=sampler), study.seed, ordinal)  # type: ignore[arg-type]
        trial = stored.ask()
        recipe: Recipe = suggest(trial)
        try:
            metrics = measured(recipe, study, task)
        except TrialError:
            stored.tell(trial, state=optuna.trial.TrialState.FAIL)
            failed += 1
            continue
        for constraint in study.constraints:
            trial.set_constraint(str(constraint), constraint.violation(metrics[constraint.key]))
        stored.tell(trial, [metrics[o.key] for o in study.objectives])
        trace.append((cpu_seconds() - begun, metrics))
    counts = {"complete": len(trace), "failed": failed}
    return {"trace": trace, "counts": counts, "wall_seconds": time.monotonic() - clock}


def measured(
    recipe: Recipe, study: Study, task: Any, report: Report = lambda *point: None
) -> dict[str, float]:
    """Run a recipe from scratch in this process and measure what comes out."""
    run = Run(task, study.budget.epochs, study.seed, torch.device("cpu"), report)
    measurement = Measurement(run_recipe(recipe, run), task, task.validation)
    return measure(measurement, study.measured())


def save(result: dict[str, Any], path: Path) -> None:
    """Write a search's result in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(path)
