"""What one driver of a cluster costs, and how many trials it can hold.

64 jobs at a time sleep on a real Slurm, behind a history of complete trials. Counted is the driver's
processor time with that of the commands that it calls (sbatch, sacct), a trial; `ratio` is the share of a
processor that the driver takes at 64 trials that last for as long as these sleep. A driver is saturated where
its cost a trial is the time between two trials: with trials of T seconds at T / cost of them.

    tests/cluster/slurm/up /tmp/slurm && export SLURM_CONF=/tmp/slurm/slurm.conf
    python -m benchmarks.driver_cost [--history 100 1000 5000] [--jobs 64] [--trials 128] [--sleep 120]

Writes `benchmarks/results/driver_cost.json`.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.figures import write
from benchmarks.sleeper import main as sleeper
from benchmarks.sleeping import Clock, remember, study
from searcher.execution.cluster.launcher import ClusterLauncher
from searcher.searching.loop import search

TRIAL = 600.0
"""Seconds of a small trial on a GPU, for which the model is told."""


def main() -> None:
    """Measure behind each history and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--history", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--storage", default="journal")
    parser.add_argument("--sleep", type=float, default=120.0)
    asked = parser.parse_args()
    found = {history: measured(history, asked) for history in asked.history}
    cost = {history: one["driver_cpu_s_a_trial"] for history, one in found.items()}
    slope, start = (
        np.polyfit(list(cost), list(cost.values()), 1) if len(cost) > 1 else (0.0, min(cost.values()))
    )
    longest = max(cost)
    write(
        "driver_cost",
        {
            "ratio": cost[longest] * asked.jobs / asked.sleep,
            "driver_cpu_s_a_trial": cost,
            "cost_model_s": {"at_no_history": start, "a_thousand_trials_of_history": slope * 1000},
            "trials_a_second_that_saturate": {h: 1 / c for h, c in cost.items()},
            f"trials_at_a_time_of_{TRIAL:.0f}_s_that_saturate": {h: TRIAL / c for h, c in cost.items()},
            "storage": asked.storage,
            "jobs": asked.jobs,
            "sleep_s": asked.sleep,
            "runs": found,
        },
    )


def measured(history: int, asked: argparse.Namespace) -> dict[str, float]:
    """One search behind a history."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        sleeping = study(history + asked.trials, asked.sleep)
        sleeping = sleeping.model_copy(
            update={"cluster": sleeping.cluster.model_copy(update={"mem": 100, "jobs": asked.jobs})}
        )
        remember(sleeping, runs, history, asked.storage)
        clock = Clock()
        launcher = ClusterLauncher("slurm", asked.jobs, sleeping.cluster.poll, print, sleeper)
        before, begun = spent(), time.monotonic()
        search(sleeping, runs, launcher, clock)
        own, called = (b - a for a, b in zip(before, spent(), strict=True))
        return {
            "driver_cpu_s_a_trial": (own + called) / asked.trials,
            "of_it_in_slurm's_commands": called / asked.trials,
            "seconds": time.monotonic() - begun,
            "median_s_between_results": statistics.median(np.diff(clock.told_at)),
        }


def spent() -> tuple[float, float]:
    """Processor seconds of this process, and of those that it has called."""
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


if __name__ == "__main__":
    main()
