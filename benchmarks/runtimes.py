"""What a recipe's network weighs and how fast it runs: torch and ONNX Runtime, fp32 and int8, side by side.

`python -m benchmarks.runtimes RECIPE.toml [...]`; without a file, ResNet-20 and a DenseNet. One image at a
time on one thread, in rounds by turns; sizes and latencies do not depend on training, so there is none.
Prints and writes `benchmarks/results/runtimes.json`; `ratio` is int8 in ONNX Runtime / fp32 in torch, the
median over the networks.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.figures import write
from searcher.compression.engines import weights
from searcher.config.recipe import Model, Quantize, Recipe
from searcher.deploy import onnx
from searcher.ui.commands.target import Target, resolve

ROUNDS = 9
RUNS = 20
IMAGE = (3, 32, 32)
GROUPED = {"growth_rate": 4, "groups_1x1": 2, "groups_3x3": 2}
RECIPES = [
    Recipe(model=Model(name="resnet20"), stages=(Quantize(),)),
    Recipe(model=Model(name="densenet", args=GROUPED), stages=(Quantize(),)),
]


@torch.inference_mode()
def milliseconds(call: Callable[[Tensor], Tensor], image: Tensor) -> float:
    """The mean over so many runs."""
    call(image)
    started = time.perf_counter()
    for _ in range(RUNS):
        call(image)
    return (time.perf_counter() - started) * 1000 / RUNS


def measured(target: Target) -> dict[str, dict[str, float]]:
    """Megabytes of the file, and median and least latency in milliseconds, by runtime."""
    network, image = target.network(), target.example()
    assert network.prepared is not None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.export_float(network.architecture, image, folder / "fp32.onnx")
        onnx.export(network, image, folder / "int8.onnx")
        weights.save(network.architecture, folder / "fp32.safetensors")
        weights.save(network.executed, folder / "int8.safetensors")
        calls: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
            "torch fp32": (network.architecture.eval(), "fp32.safetensors"),
            "ONNX Runtime fp32": (onnx.Runtime(folder / "fp32.onnx"), "fp32.onnx"),
            "torch FX int8": (network.executed, "int8.safetensors"),
            "ONNX Runtime int8": (onnx.Runtime(folder / "int8.onnx"), "int8.onnx"),
        }
        rounds = [{key: milliseconds(call, image) for key, (call, _) in calls.items()} for _ in range(ROUNDS)]
        return {
            key: {
                "mb": round((folder / file).stat().st_size / 1e6, 4),
                "ms": round(statistics.median(r[key] for r in rounds), 4),
                "least_ms": round(min(r[key] for r in rounds), 4),
            }
            for key, (_, file) in calls.items()
        }


def main() -> None:
    """Measure every network and write the figures."""
    torch.set_num_threads(1)
    files = sys.argv[1:]
    targets = [resolve(file, Path("runs"), None, 10) for file in files]
    targets = targets or [Target(recipe.words(), recipe, IMAGE, 10) for recipe in RECIPES]
    networks = {target.title: measured(target) for target in targets}
    ratios = [n["ONNX Runtime int8"]["ms"] / n["torch fp32"]["ms"] for n in networks.values()]
    result = {
        "networks": networks,
        "ratio": round(statistics.median(ratios), 4),
    }
    write("runtimes", result)


if __name__ == "__main__":
    main()
