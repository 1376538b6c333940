"""Latency and memory of an ONNX file, measured in a process that does nothing else."""

import os
from pathlib import Path

from searcher.config.deployment import Deployment
from searcher.costs.latency import Inference, _inference, _report

ONNX_PROGRAM = "searcher.deploy.onnx_worker"


def run_onnx(path: Path, conditions: Deployment) -> Inference:
    """Run an ONNX file by ONNX Runtime in a clean process of its own, on noise, and measure it.

    Raises:
        TrialError: Its process failed.
    """
    load = os.getloadavg()[0]
    with path.open("rb") as file:
        return _inference(_report(ONNX_PROGRAM, file.fileno(), conditions), conditions, load)
