"""The published configurations of the study `micronet`, by the command that a user gives.

They are the first that the search asks for. Early stopping is off, so that all of them train to their end,
and the store is empty. `seconds` is the whole command's time, `ratio` that time in units of four minutes,
`complete` the number of configurations that have all figures.

    SEARCHER_DATA=… python -m benchmarks.published [--epochs 6] [--task cifar10] [--workers N]

Writes `benchmarks/results/published.json`, or on a GPU `published_cuda.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.figures import write
from spaces.micronet import ENQUEUE

GOAL_S = 240.0


def main() -> None:
    """Run the search and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    study = f"micronet@{asked.task}"
    settings = [
        f"task={asked.task}",
        f"budget.trials={len(ENQUEUE)}",
        f"budget.epochs={asked.epochs}",
        "early_stopping.enabled=false",
        "screening=false",
        "sampler.variants=false",
    ]
    command = [sys.executable, "-m", "searcher"]
    options = [word for setting in settings for word in ("--set", setting)]
    workers = ["--workers", str(asked.workers)] if asked.workers else []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        subprocess.run(
            [*command, "run", "--study", "micronet", *options, *workers, "--runs-dir", folder], check=True
        )
        seconds = time.monotonic() - started
        trials = [json.loads(path.read_text()) for path in Path(folder, study).glob("*/metrics.json")]
    cuda = torch.cuda.is_available()
    write(
        "published" + ("_cuda" if cuda else ""),
        {
            "ratio": seconds / GOAL_S,
            "seconds": seconds,
            "complete": len(trials),
            "configurations": len(ENQUEUE),
            "epochs": asked.epochs,
            "task": asked.task,
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "torch": torch.__version__,
        },
    )


if __name__ == "__main__":
    main()
