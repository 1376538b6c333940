"""`searcher doctor`: every engine tried on a model, before it is searched."""

import json
import re

import pytest

from searcher.config.draft import Draft
from searcher.config.recipe import Model

NETS = """
from torch import nn


class Attention(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 4, 4)
        self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        return self.head((x + self.attention(y, y, y)[0]).mean(1))


class Branching(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        y = self.body(x)
        return self.head(y if y.mean() > 0 else -y)


def attention(classes):
    return Attention(classes)


def branching(classes):
    return Branching(classes)


def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1000))
"""


@pytest.fixture
def _nets(place, monkeypatch):
    (place / "doctors_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(place))


def examined(run_command, model):
    said = run_command("doctor", f"doctors_nets:{model}", "--data", "digits", "--json")
    return said.returncode, {one["what"]: one for one in json.loads(said.stdout)}


@pytest.mark.slow
@pytest.mark.usefixtures("_nets")
def test_what_cannot_be_done_with_attention_is_said_with_its_reason(run_command):
    status, found = examined(run_command, "attention")
    assert status == 1
    assert found["training"]["works"]
    assert not found["channels, torch-pruning"]["works"]
    assert found["int8"]["works"]
    assert "attention in 32 bits: not quantized as asked" in found["int8"]["note"]


@pytest.mark.slow
@pytest.mark.usefixtures("_nets")
def test_control_flow_on_values_trains_and_cannot_be_quantized(run_command):
    status, found = examined(run_command, "branching")
    assert status == 1
    assert found["training"]["works"]
    assert not found["int8"]["works"]
    assert all(one["note"] for one in found.values())


@pytest.mark.slow
def test_all_works_on_a_plain_network(run_command):
    small = ["--arg", "blocks=[1,1,1,1]", "--arg", "growth_rate=8"]
    said = run_command("doctor", "densenet", "--data", "digits", *small)
    assert said.returncode == 0, said.stdout
    assert "fails" not in said.stdout
    assert "ONNX file in int8" in said.stdout


@pytest.mark.usefixtures("_nets")
def test_a_study_is_examined_with_what_its_trials_take(place, run_command):
    text = Draft("own", Model(name="doctors_nets:branching"), "digits", "top1", trials=7, epochs=3).text()
    (place / "studies/own.toml").write_text(text)
    said = run_command("doctor", "own", "--json")
    assert said.returncode == 1, said.stderr
    notes = {one["what"]: one["note"] for one in json.loads(said.stdout)}
    assert re.search(r"; a trial that trains once, \d+ s; 7 trials of them, \d+ s$", notes["training"])
    refused = run_command("doctor", "own", "--arg", "width=3")
    assert refused.returncode == 2
    assert "--data TASK" in refused.stderr


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("doctors_nets:wide", "digits", "expected 2×10"),
        ("doctors_nets:none", "digits", "none"),
        ("resnet21", "digits", "resnet20"),
        ("resnet20", "digit", "digits"),
    ],
)
@pytest.mark.usefixtures("_nets")
def test_what_cannot_be_tried_is_one_line(model, data, words, run_command):
    said = run_command("doctor", model, "--data", data)
    assert said.returncode == 2
    assert words in said.stderr
    assert "Traceback" not in said.stderr
