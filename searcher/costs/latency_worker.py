"""The program of a clean process: one model, run and timed. It imports the standard library and torch alone.

``python -m searcher.costs.latency_worker CONDITIONS MODEL`` with JSON of batch, threads, device, warmup and
runs, and a TorchScript file that carries one image. It prints one JSON, and ends when its standard input
closes.
"""

import io
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

IMAGE = "image"
"""The name under which the model's file carries the image."""

ENGINE = "onednn"
# A DeprecationWarning, from torch 2.14 on a FutureWarning.
_DEPRECATED = "`torch.jit.load` is deprecated"

Conditions = dict[str, Any]
Load = Callable[[str, Conditions], Callable[[], object]]
"""From a file and the conditions to a run of a batch."""


def main(conditions: Conditions, path: str, load: Load) -> dict[str, Any]:
    """Load a model, run it once to see what memory it takes, then time it.

    Returns:
        ``latencies_ms`` of each timed run; ``before_mb``, what the process held before the model was loaded,
        and ``peak_mb``, the most that it ever held up to the end of the first run, in 10^6 bytes;
        ``cuda_mb``, the most that was allocated on the GPU, and ``gpu``, its name, or None; ``engine``, whose
        kernels run int8; ``threads``.
    """
    cuda = conditions["device"] == "cuda"
    torch.set_num_threads(conditions["threads"])
    # The engine counts when a quantized model is loaded, not only when it runs.
    if ENGINE in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = ENGINE
    before = _memory_mb("VmRSS")
    with torch.inference_mode():
        run = load(path, conditions)
        _timed(run, cuda)
        peak = _memory_mb("VmHWM")
        cuda_mb = torch.cuda.max_memory_allocated() / 1e6 if cuda else None
        for _ in range(conditions["warmup"]):
            _timed(run, cuda)
        latencies = [_timed(run, cuda) for _ in range(conditions["runs"])]
    return {
        "latencies_ms": latencies,
        "before_mb": before,
        "peak_mb": peak,
        "cuda_mb": cuda_mb,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "engine": torch.backends.quantized.engine,
        "threads": torch.get_num_threads(),
    }


def batch_of(image: Tensor, batch: int) -> Tensor:
    """One image (1, C, H, W) repeated to (batch, C, H, W), in the same memory format."""
    return torch.cat([image] * batch)


def load_script(path: str, conditions: Conditions) -> Callable[[], object]:
    """A run of a TorchScript file on the image that it carries."""
    device = conditions["device"]
    files: dict[str, Any] = {IMAGE: ""}
    model = torch.jit.load(path, map_location=device, _extra_files=files)  # type: ignore[no-untyped-call]
    image = torch.load(io.BytesIO(files[IMAGE]), weights_only=True)
    images = batch_of(image, conditions["batch"]).to(device)
    return lambda: model(images)


def _timed(run: Callable[[], object], cuda: bool) -> float:
    """Run once; the milliseconds until its output is there."""
    if cuda:
        torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - started) * 1000


def _memory_mb(key: str) -> float:
    """A figure of this process from the kernel, in 10^6 bytes: VmRSS is held now, VmHWM was its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) * 1024 / 1e6


def end_with_parent() -> None:
    """From now on, end this process when its parent's end of the standard input closes."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    warnings.filterwarnings("ignore", message=_DEPRECATED)
    print(json.dumps(main(json.loads(sys.argv[1]), sys.argv[2], load_script)))
