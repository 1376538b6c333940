"""`searcher evaluate`: a checkpoint's quality, cost, size and latency, in float32 and in int8."""

import json

import pytest
import torch

from searcher import tasks
from searcher.models import build


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.pt"
    model = build("resnet20", {}, in_channels=1, classes=10)
    torch.save(model.state_dict(), path)
    return path, model


def evaluate(run_command, path, *options):
    return run_command("evaluate", str(path), "--model", "resnet20", "--data", "digits", *options)


def test_its_figures_are_those_of_the_network(checkpoint, run_command):
    path, model = checkpoint
    said = evaluate(run_command, path, "--json", "--split", "validation")
    found = json.loads(said.stdout)
    task = tasks.entry("digits").load()
    plain, int8 = found["evaluations"]
    assert (found["split"], found["images"]) == ("validation", len(task.validation))
    assert plain["quality"]["top1"] == task.top1(model, task.validation)
    assert plain["cost"]["params"] == sum(p.numel() for p in model.parameters())
    assert int8["arithmetic"] == "int8"
    assert int8["cost"]["size_mb"] < 0.3 * plain["cost"]["size_mb"]
    assert int8["scores"]["imt-2025"] < 0.3 * plain["scores"]["imt-2025"]
    assert abs(int8["quality"]["top1"] - plain["quality"]["top1"]) < 0.1


def test_a_table_says_both(checkpoint, run_command):
    said = evaluate(run_command, checkpoint[0], "--exclude", "conv1=16").stdout
    assert "resnet20" in said
    assert "test images of digits" in said
    assert all(word in said for word in ("float32", "int8", "top-1 accuracy", "imt-2022", "exact arithmetic"))
    assert "int8" not in evaluate(run_command, checkpoint[0], "--no-int8").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exclude", "conv9"], "conv9"),
        (["--exclude", "conv1=8"], "expected MODULE"),
        (["--arg", "depth"], "expected KEY=VALUE"),
        (["--arg", "deep=3"], "deep"),
    ],
)
def test_wrong_options_are_one_line(options, words, checkpoint, run_command):
    said = evaluate(run_command, checkpoint[0], *options)
    assert said.returncode == 2
    assert words in said.stderr
    assert "Traceback" not in said.stderr


def test_weights_of_another_net_are_refused(tmp_path, run_command):
    torch.save(build("resnet20", {}, in_channels=3, classes=10).state_dict(), tmp_path / "other.pt")
    said = evaluate(run_command, tmp_path / "other.pt")
    assert said.returncode == 2
    assert "conv1.weight" in said.stderr
    assert evaluate(run_command, tmp_path / "none.pt").returncode == 2
