"""What a trial takes besides training, measuring and quantizing, late in a long search.

A study with 1,000 trials in its history runs 20 more, one at a time; each builds its network, is measured,
sleeps for a second and is told. What passes between two results, less what the later trial was measured and
slept, is the overhead: asking the sampler, predicting the cost, storing, starting the process, loading the
data, building the network. `ratio` is the median as a share of a trial of 60 seconds. The bytes are of
those 20 trials, in the data base and in their folders.

    python -m benchmarks.overhead [--history 1000] [--trials 20]

Writes `benchmarks/results/overhead.json`.
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

from benchmarks.figures import write

SLEEP = 1.0
TRIAL = 60.0


def main() -> None:
    """Measure with a short and a long history, and write the figures."""
    # A trial imports what its driver imported as the main module, so here that is little.
    from benchmarks.sleeping import measuring, remember, searched, study

    parser = argparse.ArgumentParser()
    parser.add_argument("--history", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=20)
    asked = parser.parse_args()
    found = {}
    for history in (20, asked.history):
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder)
            asked_study = study(history + asked.trials, SLEEP)
            remember(asked_study, runs, history)
            before = _bytes(runs)
            clock = searched(asked_study, runs, 1)
            found[history] = {
                "overhead_s": [
                    b - a - measuring(asked_study, runs, number)
                    for (a, b), number in zip(
                        itertools.pairwise(clock.told_at), clock.numbers[1:], strict=True
                    )
                ],
                "driver_cpu_s": [b - a for a, b in itertools.pairwise(clock.driver_cpu)],
                "bytes_a_trial": (_bytes(runs) - before) / asked.trials,
                "bytes_of_history": before / history,
            }
    medians = {h: statistics.median(f["overhead_s"]) for h, f in found.items()}
    cpu = {h: statistics.median(f["driver_cpu_s"]) for h, f in found.items()}
    write(
        "overhead",
        {
            "ratio": medians[asked.history] / TRIAL,
            "overhead_s": medians,
            "driver_cpu_s": cpu,
            "bytes_a_trial": {h: f["bytes_a_trial"] for h, f in found.items()},
            "runs": found,
        },
    )


def _bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


if __name__ == "__main__":
    main()
