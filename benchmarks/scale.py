"""Trials a second for 1 to 16 workers, against the ideal.

Trials sleep instead of training, four a worker after the first, in which the workers start. The ideal is
the number of workers times what one alone does. A trial costs processor time as well, to load, to build and
to measure, so that few cores limit many workers that sleep for a short time only.

    python -m benchmarks.scale [--sleep 8] [--workers 1 2 4 8 16]

Writes `benchmarks/results/scale.json`; `ratio` is of the most workers, what they do / the ideal.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.figures import write

ROUNDS = 4


def main() -> None:
    """Measure every number of workers and write the figures."""
    # A trial imports what its driver imported as the main module, so here that is little.
    from benchmarks.sleeping import searched, study

    parser = argparse.ArgumentParser()
    parser.add_argument("--sleep", type=float, default=8.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    asked = parser.parse_args()
    rates, driver = {}, {}
    for workers in asked.workers:
        with tempfile.TemporaryDirectory() as folder:
            clock = searched(study(workers * (ROUNDS + 1), asked.sleep), Path(folder), workers)
        told = clock.told_at
        rates[workers] = workers * ROUNDS / (told[-1] - told[workers - 1])
        spent = clock.driver_cpu[-1] - clock.driver_cpu[workers - 1]
        driver[workers] = spent / (workers * ROUNDS)
        print(f"{workers:3} workers {rates[workers]:.3f} trials/s", flush=True)
    one = rates[min(rates)] / min(rates)
    write(
        "scale",
        {
            "ratio": rates[max(rates)] / (one * max(rates)),
            "trials_per_second": rates,
            "ideal": {n: one * n for n in rates},
            "of_ideal": {n: rate / (one * n) for n, rate in rates.items()},
            "driver_cpu_s_a_trial": driver,
            "sleep_s": asked.sleep,
        },
    )


if __name__ == "__main__":
    main()
