"""All that is measured on a GPU, in one run of some ten minutes, and a table of the goals at its end.

    SEARCHER_DATA=… python -m benchmarks.gpu

Each part writes a result of its own in `benchmarks/results`; a part that fails is said, and the others go on.
"""

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.figures import RESULTS

PARTS = {
    "training_throughput": [
        *("--images", "12800", "--repeats", "2", "--batches", "128", "512", "2048"),
        *("--ways", "plain", "ours", "ours, launched"),
    ],
    "side_by_side": [],
    "published": [],
}
PART_S = 280.0
"""Seconds after which a part is ended."""

GOALS: list[tuple[str, str, tuple[str, ...], str, float]] = [
    (
        "DenseNet k=4, batch 128: ours / plain",
        "training_throughput",
        ("ratios", "DenseNet k=4", "ours"),
        "≥",
        10,
    ),
    ("ResNet-20, batch 128: ours / plain", "training_throughput", ("ratios", "ResNet-20", "ours"), "≥", 6),
    (
        "evaluation of an epoch, DenseNet",
        "training_throughput",
        ("share_of_evaluation", "DenseNet k=4"),
        "<",
        0.05,
    ),
    (
        "evaluation of an epoch, ResNet-20",
        "training_throughput",
        ("share_of_evaluation", "ResNet-20"),
        "<",
        0.05,
    ),
    ("eight trainings at once / one", "side_by_side", ("ratio",), "≥", 2),
    ("published configurations, seconds", "published", ("seconds",), "<", 240),
    ("published configurations, complete", "published", ("complete",), "≥", 8),
]
"""Words, benchmark, place in its result, and the goal."""


def main() -> None:
    """Run every part and print the table."""
    begun = time.time()
    for part, options in PARTS.items():
        try:
            subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *options], check=True, timeout=PART_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{part}: {error}", flush=True)
    results: dict[str, Any] = {}
    for part in PARTS:
        for path in RESULTS.glob(f"{part}*.json"):
            # One of an earlier run, or of another device, is not this one's.
            if path.stat().st_mtime > begun:
                results[part] = json.loads(path.read_text())
    for words, part, place, sign, goal in GOALS:
        found: Any = results.get(part)
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        met = "" if found is None else "met" if (found >= goal if sign == "≥" else found < goal) else "MISSED"
        print(
            f"{words:40} {'not measured' if found is None else f'{found:.4g}':>12}   {sign} {goal:g}  {met}"
        )


if __name__ == "__main__":
    main()
