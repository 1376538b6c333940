"""How much processor time a search takes to the front that plain TPE has at its end.

For every seed plain Optuna TPE trains its trials from scratch; the hypervolume that its feasible trials
dominate at the end is the goal. The others spend as much, or as many trials. Every search runs in a process
of its own, held to one core. `ratio` is the median over the seeds of ours / plain TPE, in processor seconds;
a search that never gets there counts as 1.

    python -m benchmarks.search_efficiency [--seeds 5] [--trials 30] [--only METHOD] [--task cifar10]

Searches that are done are kept under `benchmarks/runs` and not repeated. Writes
`benchmarks/results/search_efficiency.json`, or `search_efficiency_TASK.json` for another task than digits.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from optuna._hypervolume import compute_hypervolume

from benchmarks.figures import write

HERE = Path(__file__).parent
RUNS = HERE / "runs"
PLAIN = ("tpe", "nsga2", "random")
OURS = {
    "ours": [],
    "ours without store": ["store=false"],
    "ours without variants": ["sampler.variants=false"],
    "ours without early stopping": ["early_stopping.enabled=false"],
    "ours without screening": ["screening=false"],
}
QUALITY, COST = "top1", "micronet_score:imt-2022"
PEER = "syne tune mo-asha"
METHODS = ("tpe", "ours", "nsga2", "random", PEER, *list(OURS)[1:])
SHARES = (0.1, 0.25, 0.5, 1.0)
BOUND = 0.003
"""The study's bound on cost."""


def main() -> None:
    """Run every search that was not run yet, then write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--task", default="digits")
    parser.add_argument("--only", help="one method, and plain TPE")
    asked = parser.parse_args()
    methods = [m for m in METHODS if asked.only in (None, m) or m == "tpe"]
    if PEER in methods:
        install_peer()
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [(m, seed, asked.trials, asked.task, cores) for m in methods for seed in range(asked.seeds)]
        list(pool.map(lambda job: run(*job), jobs))
    other = "" if asked.task == "digits" else f"_{asked.task}"
    write(f"search_efficiency{other}", summary(methods, asked.seeds, asked.task))


def install_peer() -> None:
    """Install Syne Tune beside, with what it imports alone: the rest would displace what is pinned here."""
    if not (RUNS / "peer").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(RUNS / "peer")]
        subprocess.run([*pip, "syne-tune==0.16.0", "dill"], check=True)


def place(method: str, seed: int, task: str) -> Path:
    """Where a search's result is kept."""
    return RUNS / f"{task}-{method.replace(' ', '-')}-{seed}.json"


def run(method: str, seed: int, trials: int, task: str, cores: "SimpleQueue[int]") -> None:
    """One search, in a process that is held to a core."""
    if place(method, seed, task).is_file():
        return
    core = cores.get()
    try:
        command = [
            sys.executable,
            "-m",
            "benchmarks.one_search",
            method,
            str(seed),
            str(trials),
            task,
        ]
        environment = os.environ | {
            "SEARCHER_PATH": str(HERE / "content"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(RUNS / "peer"),
        }
        subprocess.run(["taskset", "-c", str(core), *command], env=environment, check=True)
    finally:
        cores.put(core)


def hypervolumes(trace: list[Any], bound: float = BOUND) -> list[tuple[float, float]]:
    """The share of the box of quality 0 to 1 and cost 0 to the bound that is dominated, after each trial."""
    points: list[list[float]] = []
    found = []
    for seconds, metrics in trace:
        if metrics[COST] <= bound:
            points.append([1 - metrics[QUALITY], metrics[COST] / bound])
        value = compute_hypervolume(np.array(points), np.ones(2)) if points else 0.0
        found.append((seconds, float(value)))
    return found


def summary(methods: list[str], seeds: int, task: str) -> dict[str, Any]:
    """Seconds to plain TPE's last hypervolume, by method and seed; None where it was not reached."""
    results = {m: found for m in methods if (found := _results(m, seeds, task))}
    curves = {m: {s: hypervolumes(r["trace"]) for s, r in found.items()} for m, found in results.items()}
    goals = {seed: curve[-1][1] for seed, curve in curves["tpe"].items()}
    totals = {seed: curve[-1][0] for seed, curve in curves["tpe"].items()}
    reached = {
        m: {s: next((t for t, v in curve if v >= goals[s]), None) for s, curve in found.items()}
        for m, found in curves.items()
    }
    ratios = {m: {s: t and t / totals[s] for s, t in times.items()} for m, times in reached.items()}
    return {
        "ratio": _median(ratios.get("ours", {})),
        "share_of_plain_TPE's_seconds_until_its_hypervolume": {
            m: {"median": _median(r)} | r for m, r in ratios.items()
        },
        "share_of_plain_TPE's_last_hypervolume_after_a_share_of_its_seconds": {
            m: {str(share): _median_at(found, share, goals, totals) for share in SHARES}
            for m, found in curves.items()
        },
        "seconds_until_plain_TPE's_hypervolume": reached,
        "last_hypervolume": {m: {s: c[-1][1] for s, c in found.items()} for m, found in curves.items()},
        "seconds": {m: {s: c[-1][0] for s, c in found.items()} for m, found in curves.items()},
        "trials": {m: {s: _counts(r["counts"]) for s, r in found.items()} for m, found in results.items()},
        "loads": {m: {s: r["load"] for s, r in found.items()} for m, found in results.items()},
        "traces": {m: list(found.values()) for m, found in curves.items()},
        "axes": {
            "title": f"Dominated hypervolume on {task}, median of the seeds",
            "across": "processor seconds",
            "up": f"share of the box of top-1 0 to 1 and score 0 to {BOUND}",
        },
    }


def _results(method: str, seeds: int, task: str) -> dict[str, Any]:
    places = {f"seed {seed}": place(method, seed, task) for seed in range(seeds)}
    return {name: json.loads(path.read_text()) for name, path in places.items() if path.is_file()}


def _median_at(
    found: Mapping[str, list[tuple[float, float]]],
    share: float,
    goals: Mapping[str, float],
    totals: Mapping[str, float],
) -> float:
    """The median over the seeds of what is dominated by then."""
    then = {
        seed: max((v for t, v in curve if t <= share * totals[seed]), default=0.0)
        for seed, curve in found.items()
    }
    return statistics.median(value / goals[seed] for seed, value in then.items())


def _median(shares: Mapping[str, float | None]) -> float | None:
    """Where it was not reached it counts as 1."""
    return statistics.median(1.0 if s is None else s for s in shares.values()) if shares else None


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


if __name__ == "__main__":
    main()
