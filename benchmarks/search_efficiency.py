"""How much processor time a search takes to the front that plain TPE has at its end.

For every seed plain Optuna TPE trains its trials from scratch; the hypervolume that its feasible trials
dominate at the end is the goal. The others spend as much, or as many trials. Every search runs in a process
of its own, held to one core. `ratio` is the median over the seeds of ours / plain TPE, in processor seconds;
a search that never gets there counts as 1.

    python -m benchmarks.search_efficiency [--seeds 5] [--trials 40] [--only METHOD]

Searches that are done are kept under `benchmarks/runs` and not repeated. Writes
`benchmarks/results/search_efficiency.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from optuna._hypervolume import compute_hypervolume

HERE = Path(__file__).parent
RUNS = HERE / "runs"
PLAIN = ("tpe", "nsga2", "random")
OURS = {
    "ours": [],
    "ours without store": ["store=false"],
    "ours without early stopping": ["early_stopping.enabled=false"],
    "ours without screening": ["screening=false"],
}
QUALITY, COST = "top1", "micronet_score:imt-2022"
PEER = "syne tune mo-asha"
BOUND = 0.003
"""The study's bound on cost."""


def main() -> None:
    """Run every search that was not run yet, then write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--only", help="one method, and plain TPE")
    asked = parser.parse_args()
    methods = [m for m in (*PLAIN, *OURS, PEER) if asked.only in (None, m) or m == "tpe"]
    if PEER in methods:
        install_peer()
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [(m, seed, asked.trials, cores) for m in methods for seed in range(asked.seeds)]
        list(pool.map(lambda job: run(*job), jobs))
    result = summary(methods, asked.seeds)
    (HERE / "results" / "search_efficiency.json").write_text(json.dumps(result, indent=1) + "\n")
    shown = {key: value for key, value in result.items() if key != "traces"}
    print(json.dumps(shown, indent=1))


def install_peer() -> None:
    """Install Syne Tune beside: what it depends on would displace what is pinned here."""
    if not (RUNS / "peer").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(RUNS / "peer")]
        subprocess.run([*pip, "syne-tune==0.16.0"], check=True)


def place(method: str, seed: int) -> Path:
    """Where a search's result is kept."""
    return RUNS / f"{method.replace(' ', '-')}-{seed}.json"


def run(method: str, seed: int, trials: int, cores: "SimpleQueue[int]") -> None:
    """One search, in a process that is held to a core."""
    if place(method, seed).is_file():
        return
    core = cores.get()
    try:
        command = [
            sys.executable,
            "-m",
            "benchmarks.search_efficiency",
            "--one",
            method,
            str(seed),
            str(trials),
        ]
        environment = os.environ | {
            "SEARCHER_PATH": str(HERE / "content"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(RUNS / "peer"),
        }
        subprocess.run(["taskset", "-c", str(core), *command], env=environment, check=True)
    finally:
        cores.put(core)


def one(method: str, seed: int, trials: int) -> None:
    """Run one search in this process and keep what came out."""
    import torch

    from benchmarks.searches import Trace, ours, plain, save
    from searcher.study import StudyFile

    torch.set_num_threads(1)
    # As many trials as the processor time allows: what is stopped early is a trial as well.
    count = trials if method in PLAIN else 50 * trials
    sets = [f"seed={seed}", f"budget.trials={count}", *OURS.get(method, [])]
    study = StudyFile("small", sets).study("digits")
    if method in PLAIN:
        result = plain(study, method)
    else:
        known = json.loads(place("tpe", seed).read_text())["trace"]
        goal, seconds = hypervolumes(known)[-1][1], known[-1][0]

        def enough(trace: Trace) -> bool:
            return hypervolumes(trace)[-1][1] >= goal

        if method == PEER:
            from benchmarks.peer import Peer

            result = Peer(study).search(seconds, enough)
        else:
            with tempfile.TemporaryDirectory() as runs:
                result = ours(study, Path(runs), seconds, enough)
    save(result | {"load": os.getloadavg()[0]}, place(method, seed))


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


def summary(methods: list[str], seeds: int) -> dict[str, Any]:
    """Seconds to plain TPE's last hypervolume, by method and seed; None where it was not reached."""
    results = {m: [json.loads(place(m, seed).read_text()) for seed in range(seeds)] for m in methods}
    curves = {m: [hypervolumes(r["trace"]) for r in found] for m, found in results.items()}
    goals = [curve[-1][1] for curve in curves["tpe"]]
    totals = [curve[-1][0] for curve in curves["tpe"]]
    reached = {
        m: [next((t for t, v in curve if v >= goal), None) for curve, goal in zip(found, goals, strict=True)]
        for m, found in curves.items()
    }
    ratios = {
        m: [None if t is None else round(t / total, 4) for t, total in zip(times, totals, strict=True)]
        for m, times in reached.items()
    }
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    own = [1.0 if r is None else r for r in ratios.get("ours", [])]
    return {
        "ratio": round(statistics.median(own), 4) if own else None,
        "ratios": ratios,
        "seconds": reached,
        "plain_tpe_seconds": totals,
        "plain_tpe_hypervolume": goals,
        "last_hypervolume": {m: [curve[-1][1] for curve in found] for m, found in curves.items()},
        "counts": {m: [r["counts"] for r in found] for m, found in results.items()},
        "load": {m: [round(r["load"], 2) for r in found] for m, found in results.items()},
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "commit": commit.stdout.strip(),
        "traces": curves,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
