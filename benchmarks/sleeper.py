"""The program of a job that sleeps instead of running its trial: a processor can hold many of them."""

import json
import os
import socket
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from searcher.config.recipe import Recipe

EPOCHS = 10


def main(folders: Sequence[str]) -> None:
    """Say what a trial of ten epochs would, and leave made-up figures."""
    (folder,) = map(Path, folders)
    seconds = float(os.environ["SEARCHER_SLEEP"])
    raw = tomllib.loads((folder.parent / "recipe.toml").read_text())["recipe"]
    recipe = Recipe.model_validate_json(json.dumps(raw))
    say(folder, "host", name=socket.gethostname(), pid=os.getpid(), ahead=0.0)
    for epoch in range(1, EPOCHS + 1):
        time.sleep(seconds / EPOCHS)
        figures = {"stage": "train", "epoch": epoch, "epochs": EPOCHS, "accuracy": 0.5}
        say(folder, "Progress", **figures, cpu_seconds=0.0, rung=0)
    metrics = {"top1": 0.5, "micronet_score:imt-2022": 0.01, "slept": seconds}
    result = {"recipe": recipe.digest(), "seconds": seconds, "cpu_seconds": 0.0, "metrics": metrics}
    (folder.parent / "metrics.json").write_text(json.dumps(result))
    say(folder, "Done")


def say(folder: Path, kind: str, **content: object) -> None:
    """Append a line to what the trial has said."""
    with (folder / "said.jsonl").open("a") as file:
        file.write(json.dumps({"kind": kind} | content) + "\n")
