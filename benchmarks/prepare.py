"""How long a folder of many small images takes to be prepared and read, and in how much memory.

The images are JPEGs of noise in ten class folders. A process of its own prepares them; another one loads
what was prepared, takes its fingerprint and gathers an epoch of batches of 128 in random order. Memory is
what each has of its own beyond its imports (`RssAnon`); pages of the map are the system's, which takes them
back. `ratio` is the larger of the two / the bytes of all images.

python -m benchmarks.prepare [--images 200000] [--side 64]

Prints and writes `benchmarks/results/prepare.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.figures import write
from searcher import tasks

CLASSES, BATCH = 10, 128


def main() -> None:
    """Write the images, measure both processes and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--measured", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measured:
        print(json.dumps(measured(asked.measured)))
        return
    with tempfile.TemporaryDirectory() as folder:
        images(Path(folder) / "images", asked.images, asked.side)
        first, again = (_apart(Path(folder)) for _ in range(2))
    size = 3 * asked.images * asked.side**2
    result: dict[str, Any] = {
        "images": asked.images,
        "side": asked.side,
        "images_mb": size / 1e6,
        "prepared": first,
        "loaded": again,
        "ratio": max(first["peak_mb"], again["peak_mb"]) * 1e6 / size,
    }
    write("prepare", result)


def images(folder: Path, count: int, side: int) -> None:
    """Write so many JPEGs of noise, evenly over the classes."""
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_image, folder, side), range(count), chunksize=1000))


def _image(folder: Path, side: int, number: int) -> None:
    noise = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / str(number % CLASSES) / f"{number}.jpg", quality=90)


def _apart(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.prepare", "--measured", str(folder / "images")]
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    ran = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def measured(folder: Path) -> dict[str, float]:
    """Seconds and the peak of this process's own memory beyond what it has now, in MB."""
    before = status("RssAnon")
    peaks, over = [before], threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            peaks.append(status("RssAnon"))

    watch = threading.Thread(target=look)
    watch.start()
    begun = time.perf_counter()
    task = tasks.entry(str(folder)).load()
    loaded = time.perf_counter()
    task.fingerprint  # noqa: B018
    printed = time.perf_counter()
    order = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(0))
    for chosen in torch.split(order, BATCH):
        task.train.images[chosen].float()
    ended = time.perf_counter()
    over.set()
    watch.join()
    return {
        "load_s": loaded - begun,
        "fingerprint_s": printed - loaded,
        "epoch_s": ended - printed,
        "peak_mb": (max(peaks) - before) / 1e3,
        "peak_with_the_map_mb": status("VmHWM") / 1e3,
    }


def status(key: str) -> int:
    """A figure of this process's memory, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    main()
