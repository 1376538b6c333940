"""What a search makes of a network that others have trained: the front of a published ResNet-20.

Its weights were trained on CIFAR-10's training images, so all is done on the 10,000 test images: 5,000 to
finetune, 3,000 that decide the search, 2,000 that nothing here reads. `ratio` is the smallest file of an
accuracy within a point of the network as it came / that network's own file.

python -m benchmarks.published_front

Wants `cifar-10-batches-bin` and `resnet_cifar10` in $SEARCHER_DATA. What is searched is kept under
`benchmarks/runs` and goes on. Writes `benchmarks/results/published_front.json`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import HERE, write
from searcher.tasks.classification.cifar10 import cifar10

STUDY = "front"
FOLDER = HERE / "runs" / "published_front"
WEIGHTS = "resnet_cifar10/resnet20-12fca82f.th"
PARTS = {"train": slice(0, 5000), "val": slice(5000, 8000), "test": slice(8000, 10_000)}
CHART = {
    "title": "A published ResNet-20 on CIFAR-10: accuracy against size of the file",
    "least": 0.6,
}
WITHIN = 0.01
"""How much accuracy may be lost for the ratio."""


def main() -> None:
    """Search, and write what was measured of every trial."""
    weights = Path(os.environ["SEARCHER_DATA"]).absolute() / WEIGHTS
    FOLDER.mkdir(parents=True, exist_ok=True)
    images()
    _searcher("run", STUDY, "--workers", "1", "--set", f"model.weights={weights}")
    shown = json.loads(_searcher("show", STUDY, "--all", "--json"))
    points = [
        {"size_mb": t["size_mb"], "top1": t["top1"], "front": t["front"], "recipe": t["recipe"]}
        for t in shown["trials"]
        if t["state"] == "complete"
    ]
    write("published_front", summary(points) | {"points": points, "chart": CHART})


def images() -> None:
    """Write CIFAR-10's test images as a data set of its own, in the order in which they are."""
    test = cifar10().test
    held, labels = test.images.numpy(), test.labels.numpy()
    arrays: dict[str, Any] = {
        f"{x}_{part}": all_[own] for part, own in PARTS.items() for x, all_ in (("x", held), ("y", labels))
    }
    np.savez(FOLDER / "heldout.npz", **arrays)


def summary(points: list[dict[str, Any]]) -> dict[str, Any]:
    """The trials by what became of them, the front as rows, and the ratio."""
    first, *_ = points
    front = sorted((p for p in points if p["front"]), key=lambda p: -p["size_mb"])
    close = min(p["size_mb"] for p in points if p["top1"] >= first["top1"] - WITHIN)
    rows = {p["recipe"]: {"size_mb": p["size_mb"], "top1": p["top1"]} for p in front}
    return {"trials_measured": len(points), "front": rows, "ratio": close / first["size_mb"]}


def _searcher(*args: str) -> str:
    """What a command says, in the folder of this search."""
    place = os.environ | {"SEARCHER_PATH": str(HERE / "content")}
    command = [sys.executable, "-m", "searcher", *args]
    return subprocess.run(
        command, cwd=FOLDER, env=place, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main()
