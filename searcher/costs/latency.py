"""Latency and memory of a finished model, measured in a process that does nothing else."""

import io
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from searcher.config.deployment import Deployment
from searcher.costs import latency_worker
from searcher.errors import SearcherError, TrialError, first_line

TIMEOUT_S = 900.0
"""Seconds after which a measurement is given up."""


# A DeprecationWarning, from torch 2.14 on a FutureWarning.
_DEPRECATED = ("`torch.jit.trace` is deprecated", "`torch.jit.trace_method` is deprecated")


@dataclass(frozen=True)
class Machine:
    """The machine of an inference.

    Attributes:
        processor: The processor's model name, or that of the GPU.
        cores: Cores that the process could use.
        torch: torch's version.
        engine: Whose kernels run int8, and of torch's the processor's instruction set.
        load: Processes that wanted to run, on average over the minute before, this one included.
    """

    processor: str
    cores: int
    torch: str
    engine: str
    load: float


@dataclass(frozen=True)
class Inference:
    """Measurements of a model's timed runs, with their conditions.

    Attributes:
        mean_ms: Mean latency of a run, which is of a whole batch, in milliseconds.
        std_ms: Standard deviation of the timed runs about their mean; 0 with one run.
        median_ms: Median latency.
        peak_memory_mb: The most that the whole process held in memory up to the end of its first run, the
            libraries that it loads included, in 10^6 bytes.
        inference_memory_mb: The part of that beyond what the process held before the model was loaded; on a
            GPU the most that was allocated there.
        conditions: How it was run.
        machine: What it ran on.
    """

    mean_ms: float
    std_ms: float
    median_ms: float
    peak_memory_mb: float
    inference_memory_mb: float
    conditions: Deployment
    machine: Machine

    @property
    def fps(self) -> float:
        """Images a second, by the mean latency."""
        return 1000 * self.conditions.batch / self.mean_ms

    @property
    def circumstances(self) -> dict[str, Any]:
        """The conditions and the machine, as they are stored with the figures."""
        return {"conditions": self.conditions.model_dump(), "machine": asdict(self.machine)}


def check_device(conditions: Deployment) -> None:
    """Refuse a device that is not there.

    Raises:
        SearcherError: Names it.
    """
    if conditions.device == "cuda" and not torch.cuda.is_available():
        raise SearcherError("deployment.device: there is no cuda on this machine")


def run_inference(model: nn.Module, example: Tensor, conditions: Deployment) -> Inference:
    """Run a model in a clean process of its own and measure it.

    Args:
        model: What is executed, on the CPU; it is put into eval mode.
        example: Images (N, C, H, W), of which the first is repeated to the batch.
        conditions: How it is run.

    Raises:
        SearcherError: The device is not there.
        TrialError: The model cannot be traced, or its process failed.
    """
    check_device(conditions)
    load = os.getloadavg()[0]
    with _script_file(model, example[:1], conditions.batch) as file:
        return _inference(_report(latency_worker.__name__, file, conditions), conditions, load)


def _inference(report: dict[str, Any], conditions: Deployment, load: float) -> Inference:
    latencies = report["latencies_ms"]
    gpu_mb = report["cuda_mb"]
    return Inference(
        mean_ms=statistics.fmean(latencies),
        std_ms=statistics.pstdev(latencies),
        median_ms=statistics.median(latencies),
        peak_memory_mb=report["peak_mb"],
        inference_memory_mb=report["peak_mb"] - report["before_mb"] if gpu_mb is None else gpu_mb,
        conditions=conditions,
        machine=_machine(report, load),
    )


def script(model: nn.Module, images: Tensor) -> torch.jit.ScriptModule:
    """A model as TorchScript, traced on images (N, C, H, W) in eval mode and without gradients.

    Raises:
        TrialError: It cannot be traced, or its trace does something else.
    """
    with warnings.catch_warnings(), torch.no_grad():
        for text in _DEPRECATED:
            warnings.filterwarnings("ignore", message=text)
        # What a trace warns of, values that it takes for constants, is compared below on these very images.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        try:
            traced = torch.jit.trace(model.eval(), images, check_trace=False)  # type: ignore[no-untyped-call]
            torch.testing.assert_close(traced(images), model(images))
        except Exception as error:
            reason = first_line(error)
            raise TrialError(f"latency: {type(model).__name__} cannot be traced: {reason}") from error
    assert isinstance(traced, torch.jit.ScriptModule)
    return traced


@contextmanager
def _script_file(model: nn.Module, image: Tensor, batch: int) -> Iterator[int]:
    """The descriptor of a file with a model and one image; it has no name, so that none is ever left."""
    try:
        images = latency_worker.batch_of(image, batch)
    except (RuntimeError, MemoryError) as error:
        raise TrialError(f"latency: there is no memory for a batch of {batch}") from error
    traced = script(model, images)
    stored = io.BytesIO()
    torch.save(image.clone(), stored)
    with tempfile.TemporaryFile() as file:
        traced.save(_path(file.fileno()), _extra_files={latency_worker.IMAGE: stored.getvalue()})
        yield file.fileno()


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _report(module: str, file: int, conditions: Deployment) -> dict[str, Any]:
    """The report of a clean process that runs a module's program."""
    program = [sys.executable, "-P", "-m", module, conditions.model_dump_json(), _path(file)]
    with _leash() as leash:
        try:
            ended = subprocess.run(
                program, stdin=leash, pass_fds=[file], capture_output=True, text=True, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise TrialError(f"latency: {conditions.runs} runs took longer than {TIMEOUT_S:.0f} s") from error
    if ended.returncode:
        raise TrialError(f"latency: the model's process {_how_it_ended(ended)}")
    report: dict[str, Any] = json.loads(ended.stdout)
    return report


@contextmanager
def _leash() -> Iterator[int]:
    """A pipe to a child, which ends when it closes: at the latest when this process ends, however it ends."""
    ours, held = os.pipe()
    try:
        yield ours
    finally:
        os.close(ours)
        os.close(held)


def _how_it_ended(process: subprocess.CompletedProcess[str]) -> str:
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    said = [line for line in process.stderr.splitlines() if line.strip()]
    return f"failed: {said[-1].strip()}" if said else f"ended with exit code {process.returncode}"


def _machine(report: dict[str, Any], load: float) -> Machine:
    cores = len(os.sched_getaffinity(0))
    engine = report["engine"]
    if engine == latency_worker.ENGINE:
        engine = f"{engine}, {torch.backends.cpu.get_cpu_capability()}"
    return Machine(report["gpu"] or processor(), cores, torch.__version__, engine, load)


def processor() -> str:
    """The processor's model name, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
