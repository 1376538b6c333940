"""The program of a clean process: one ONNX file, run and timed by ONNX Runtime.

``python -m searcher.deploy.onnx_worker CONDITIONS FILE``, as `searcher.costs.latency_worker` has it.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch

from searcher.costs import latency_worker
from searcher.deploy.onnx import Runtime


def load(path: str, conditions: latency_worker.Conditions) -> Callable[[], object]:
    """A run of the file on a batch of images of noise."""
    runtime = Runtime(Path(path), int(conditions["threads"]))
    images = torch.randn(int(conditions["batch"]), *runtime.image, generator=torch.Generator().manual_seed(0))
    return lambda: runtime(images)


if __name__ == "__main__":
    latency_worker.end_with_parent()
    report = latency_worker.main(json.loads(sys.argv[1]), sys.argv[2], load)
    print(json.dumps(report | {"engine": f"onnxruntime {onnxruntime.__version__}"}))
