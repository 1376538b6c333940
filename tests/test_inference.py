import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from searcher.config.deployment import Deployment
from searcher.costs import latency
from searcher.costs.latency import run_inference, script
from searcher.costs.latency_worker import IMAGE
from searcher.errors import TrialError
from searcher.execution.launcher import cores
from tests.helpers.networks import executed, images, net

QUICK = Deployment(warmup=1, runs=5)


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.parametrize("kind", ["float", "int8", "kept out"])
def test_torchscript_gives_the_same_outputs(kind: str, tmp_path: Path):
    model = executed(kind)
    script(model, images()).save(tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    other = images().flip(2)
    with torch.inference_mode():
        for _ in range(3):  # TorchScript rewrites the graph after its first runs
            assert torch.equal(loaded(other), model(other))


def test_figures_of_an_inference():
    conditions = Deployment(batch=3, threads=2, warmup=2, runs=7)
    found = run_inference(executed("int8"), images(1), conditions)
    assert found.fps == pytest.approx(3 * 1000 / found.mean_ms)
    assert found.median_ms > 0
    assert found.std_ms >= 0
    assert 0 < found.inference_memory_mb < found.peak_memory_mb
    assert found.conditions == conditions
    assert found.machine.cores == cores()
    assert found.machine.torch == torch.__version__
    assert found.machine.processor
    assert json.loads(json.dumps(found.circumstances))["conditions"]["batch"] == 3


@pytest.mark.slow
def test_a_larger_batch_takes_longer():
    one, many = (run_inference(net(), images(1), Deployment(batch=b, warmup=2, runs=5)) for b in (1, 64))
    assert many.median_ms > 4 * one.median_ms


@pytest.mark.slow
def test_weights_of_40_mb_take_40_mb_more():
    small, large = nn.Linear(3300, 10, bias=False), nn.Linear(3300, 3300, bias=False)
    added = sum(p.numel() for p in large.parameters()) * 4 / 1e6
    assert added > 40
    before, after = (run_inference(m, torch.randn(1, 3300), QUICK) for m in (small, large))
    assert 40 <= after.inference_memory_mb - before.inference_memory_mb < 3 * added
    assert after.peak_memory_mb - before.peak_memory_mb >= 40


def test_the_process_is_clean(tmp_path: Path):
    image = io.BytesIO()
    torch.save(images(1), image)
    model = tmp_path / "model.pt"
    script(executed("kept out"), images(1)).save(model, _extra_files={IMAGE: image.getvalue()})
    asked = [Deployment(threads=2, runs=5).model_dump_json(), str(model)]
    program = [
        sys.executable,
        "-W",
        "error",
        "-X",
        "importtime",
        "-m",
        "searcher.costs.latency_worker",
        *asked,
    ]
    ours, held = os.pipe()
    ended = subprocess.run(program, stdin=ours, capture_output=True, text=True, timeout=600)
    os.close(ours)
    os.close(held)
    assert ended.returncode == 0, ended.stderr[-2000:]
    report = json.loads(ended.stdout)
    assert len(report["latencies_ms"]) == 5
    assert (report["threads"], report["engine"]) == (2, "onednn")
    lines = ended.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert "torch" in imported
    ours = {name for name in imported if name.startswith("searcher")}
    assert ours <= {"searcher", "searcher.version", "searcher.costs"}
    assert not imported & {"optuna", "nni", "sklearn", "pandas", "pydantic", "safetensors", "torch_pruning"}


# To the end of all tests: torch 2.11 exports no network where an operator that was called is there no more.
LIBRARY = torch.library.Library("searcher_test", "DEF")
LIBRARY.define("twice(Tensor x) -> Tensor")
LIBRARY.impl("twice", lambda x: x * 2, "CPU")


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.searcher_test.twice(x)


class Named(nn.Module):
    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
        return {"boxes": [x]}


class Moody(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand(())


def test_a_process_that_fails_fails_the_trial():
    with pytest.raises(TrialError, match="latency: the model's process failed: ") as caught:
        run_inference(Twice(), images(1), QUICK)
    assert "\n" not in str(caught.value)


def running(program: str = "searcher.costs.latency_worker") -> set[int]:
    """The processes that run an inference."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if program.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def child_of(pid: int) -> int:
    """The inference that a process has started, once there is one."""
    end = time.monotonic() + 600
    while time.monotonic() < end:
        for found in running():
            if parent(found) == pid:
                return found
        time.sleep(0.05)
    raise AssertionError("no inference was started")


def test_a_process_that_is_killed_fails_the_trial():
    killer = threading.Thread(target=lambda: os.kill(child_of(os.getpid()), signal.SIGKILL))
    killer.start()
    with pytest.raises(TrialError, match=r"was killed by SIGKILL \(out of memory\?\)"):
        run_inference(net(), images(1), Deployment(runs=10**6))
    killer.join()


def test_a_process_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(latency, "TIMEOUT_S", 2.0)
    with pytest.raises(TrialError, match="1000000 runs took longer than 2 s"):
        run_inference(net(), images(1), Deployment(runs=10**6))
    assert not {pid for pid in running() if parent(pid) == os.getpid()}


LONG = """
import torch
from searcher.costs.latency import run_inference
from searcher.config.deployment import Deployment
run_inference(torch.nn.Conv2d(3, 8, 3), torch.randn(1, 3, 32, 32), Deployment(runs=10**8))
"""


def test_a_process_does_not_outlive_its_parent():
    ours = subprocess.Popen([sys.executable, "-c", LONG])
    inference = child_of(ours.pid)
    ours.kill()
    ours.wait()
    end = time.monotonic() + 600
    while inference in running():
        assert time.monotonic() < end, "it is still there"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("model", "shape"), [(Named(), (1, 3)), (Moody(), (1, 3)), (nn.Conv2d(4, 4, 1), (1, 3, 8, 8))]
)
def test_what_cannot_be_traced_fails_the_trial(model: nn.Module, shape: tuple[int, ...]):
    with pytest.raises(TrialError, match=f"latency: {type(model).__name__} cannot be traced: .+") as caught:
        run_inference(model, torch.randn(shape), QUICK)
    assert "\n" not in str(caught.value)
