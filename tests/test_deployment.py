import json
from pathlib import Path

import pytest
import torch

from searcher.compression.engines import weights
from searcher.compression.network import Network
from searcher.config.deployment import Deployment
from searcher.config.metric import Metric
from searcher.config.recipe import Recipe
from searcher.config.study import Study, StudyFile
from searcher.costs.latency import run_inference
from searcher.errors import SearcherError
from searcher.execution import launcher, mps
from searcher.execution.launcher import default_workers
from searcher.execution.measurement import Measurement
from searcher.execution.metrics import metric_functions, timed
from searcher.execution.results import stored_outcome
from searcher.models import build
from searcher.searching.check import check_parts
from searcher.searching.identity import identify
from searcher.searching.storage import studies
from searcher.tasks.classification.digits import digits
from tests.conftest import Run
from tests.helpers.networks import images, net

QUICK = Deployment(warmup=1, runs=5)
TIMED = [
    "latency_ms",
    "latency_std_ms",
    "latency_median_ms",
    "fps",
    "peak_memory_mb",
    "inference_memory_mb",
]
LATENCY = 'objectives=[{metric="top1", goal="maximize"}, {metric="latency_ms", goal="minimize"}]'


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_bad_input():
    expected = "deployment.device: there is no cuda on this machine"
    with pytest.raises(SearcherError, match=expected):
        run_inference(net(), images(1), Deployment(device="cuda"))
    with pytest.raises(SearcherError, match=expected):
        check_parts(study(LATENCY, "deployment.device=cuda"))
    check_parts(study("deployment.device=cuda"))


def study(*overrides: str) -> Study:
    return StudyFile("micronet", overrides).study("digits")


def test_deployment_of_a_study(tmp_path: Path):
    assert study().deployment == Deployment(batch=1, threads=1, device="cpu", warmup=10, runs=50)
    (tmp_path / "mine.toml").write_text(
        'extends = "micronet"\n[deployment]\nthreads = 2\nwarmup = 0\n[when.cifar10.deployment]\nbatch = 4\n'
    )
    file = StudyFile(str(tmp_path / "mine.toml"), ["deployment.runs=7"])
    assert file.study("digits").deployment == Deployment(threads=2, warmup=0, runs=7)
    assert file.study("cifar10").deployment == Deployment(batch=4, threads=2, warmup=0, runs=7)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("deployment.batch=0", "deployment.batch: input should be greater than or equal to 1, got 0"),
        ("deployment.runs=0", "deployment.runs: input should be greater than or equal to 1, got 0"),
        ("deployment.warmup=-1", "deployment.warmup: input should be greater than or equal to 0, got -1"),
        ("deployment.threads=1.5", "deployment.threads: input should be a valid integer, got 1.5"),
        ("deployment.device=gpu", "deployment.device: input should be 'cpu' or 'cuda', got 'gpu'"),
        ("deployment.bach=8", "no such key; did you mean batch?"),
    ],
)
def test_deployment_refuses(override: str, expected: str):
    with pytest.raises(SearcherError) as caught:
        study(override)
    assert expected in str(caught.value)


def test_conditions_are_part_of_the_identity_where_they_count():
    assert "deployment" not in identify(study("deployment.batch=2"))
    assert identify(study(LATENCY, "deployment.batch=2"))["deployment"]["batch"] == 2


def test_trials_that_are_timed_run_one_at_a_time():
    assert [name for name in metric_functions() if timed([Metric(metric=name)])] == TIMED
    assert default_workers(study(LATENCY)) == 1
    assert default_workers(study('metrics=[{metric="size_mb"}]')) == default_workers(study())


def test_trials_on_gpus_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(launcher, "cores", lambda: 12)
    for there, expected in ((True, 12), (False, 4)):
        monkeypatch.setattr(mps, "obtainable", lambda there=there: there)
        assert default_workers(study()) == expected
        assert default_workers(study(), use_mps=False) == 4
        assert default_workers(study("cluster.trials_per_gpu=3")) == 6
        assert default_workers(study("cluster.trials_per_gpu=1")) == 2
        assert default_workers(study(LATENCY)) == 1


def test_all_the_metrics_share_one_inference():
    task = digits()
    model = build("densenet", {"growth_rate": 2, "blocks": [1]}, in_channels=1, classes=10)
    measurement = Measurement(Network(model, model), task, task.validation, QUICK)
    assert measurement.circumstances == {}
    figures = {name: metric_functions()[name](measurement) for name in ["size_mb", *TIMED]}
    assert figures["size_mb"] == weights.size_mb(model)
    assert figures["fps"] == pytest.approx(1000 / figures["latency_ms"])
    assert figures["peak_memory_mb"] > figures["inference_memory_mb"] > 0
    assert measurement.circumstances["conditions"] == QUICK.model_dump()


STUDY = """
task = "digits"
space = "tiny"
metrics = [{ metric = "fps" }, { metric = "inference_memory_mb" }]
[[objectives]]
metric = "top1"
goal = "maximize"
[[objectives]]
metric = "latency_ms"
goal = "minimize"
[[constraints]]
metric = "size_mb"
at_most = 0.015
[budget]
trials = 2
epochs = 1
[deployment]
batch = 2
runs = 20
"""


@pytest.mark.slow
def test_a_study_of_latency(place: Path, run_command: Run):
    (place / "studies" / "tiny.toml").write_text(STUDY)
    result = run_command("run", "--study", "tiny")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 trials, 1 at a time" in result.stdout
    stored, searched = studies.load(place / "runs", "tiny@digits")
    assert searched.deployment == Deployment(batch=2, runs=20)
    for trial in stored.trials:
        metrics, measured = trial.user_attrs["metrics"], trial.user_attrs["measured"]
        assert measured["conditions"] == searched.deployment.model_dump()
        assert set(measured["machine"]) == {"processor", "cores", "torch", "engine", "load"}
        assert trial.values == [metrics["top1"], metrics["latency_ms"]]
        assert trial.constraints == {"size_mb <= 0.015": metrics["size_mb"] - 0.015}
        folder = place / "runs" / "tiny@digits" / f"trial-{trial.number:05}"
        assert json.loads((folder / "metrics.json").read_text())["measured"] == measured
        done = stored_outcome(folder, Recipe.model_validate(trial.user_attrs["recipe"]))
        assert done is not None
        assert done.measured == measured
