"""Networks, builders and tasks that Python code gives: their names, digests and copies."""

import os
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from searcher import models, tasks
from searcher.config import given
from searcher.config.data import Data, is_path, short
from searcher.config.model import Model
from searcher.errors import SearcherError
from searcher.searching.content import digest
from searcher.searching.given import keep_model, keep_task

CODE = """
import torch
from torch import nn
from torch.nn import functional as F

def act(x):
    return F.relu(x) if "a" in {"a", "b", "c"} else x

class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.last = nn.Linear(4, classes)
        for name in ("u", "v", "w"):
            self.register_buffer(name, torch.ones(2), persistent=False)

    def forward(self, x):
        return self.last(act(self.first(x)).mean((2, 3)))
"""


def scripted(code=CODE):
    """The names of a script, whose classes no other process can import."""
    names = {"__name__": "__main__"}
    exec(compile(code, "<script>", "exec"), names)
    return names


def net(code=CODE):
    torch.manual_seed(0)
    return scripted(code)["Net"]()


def builder(num_classes, in_chans):
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_chans, num_classes))


def test_a_network_has_one_digest_until_its_values_or_its_code_change():
    first = digest(net())
    assert digest(net()) == digest(net().eval()) == digest(net("\n\n# elsewhere\n" + CODE)) == first
    changed = net()
    with torch.no_grad():
        changed.last.bias[0] += 1
    frozen = net()
    frozen.first.weight.requires_grad_(False)
    hidden = net()
    hidden.v[0] = 2
    renamed = net()
    renamed.first.padding = (1, 1)
    others = [changed, frozen, hidden, renamed]
    others += [net(CODE.replace("relu", "gelu")), net(CODE.replace('"c"}', '"d"}'))]
    assert len({first, *map(digest, others)}) == 7


def test_a_builder_has_the_digest_of_what_it_calls():
    one, same, other = (
        scripted(CODE + line)["build"]
        for line in (
            "build = lambda num_classes: Net(num_classes)",
            "\nbuild = lambda num_classes: Net(num_classes)",
            "build = lambda num_classes: Net(num_classes).eval()",
        )
    )
    assert digest(one) == digest(same) != digest(other)


@pytest.mark.slow
def test_another_process_finds_the_same_digest():
    told = "\ntorch.manual_seed(0)\nfrom searcher.searching.content import digest\nprint(digest(Net()))"
    found = {
        subprocess.run(
            [sys.executable, "-c", lines + CODE + told],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, lines in (("1", ""), ("2", "import optuna\n"), ("3", "\n\n"))
    }
    assert len(found) == 1
    assert len(found.pop()) == 17


def test_a_network_is_kept_with_its_weights_once(tmp_path):
    network = net()
    kept = keep_model(network, tmp_path)
    assert kept == keep_model(net(), tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pkl", ".safetensors"]
    assert kept.weights
    assert kept.pretrained
    assert kept.words() == "Net"
    built = models.build(kept.name, {}, in_channels=1, classes=10)
    images = torch.randn(2, 1, 8, 8)
    assert torch.equal(built(images), network(images))
    with torch.no_grad():
        built.last.bias += 1
    again = models.build(kept.name, {}, in_channels=1, classes=10)
    assert torch.equal(again(images), network(images))
    assert models.code(kept.name) == given.digest(kept.name) == digest(network)
    assert models.renamed(kept.name) == []


def test_shapes_alone_have_no_values_and_what_is_shared_stays_shared(tmp_path):
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    network[2].weight = network[0].weight
    kept = keep_model(network, tmp_path)
    with torch.device("meta"):
        shapes = models.build(kept.name, {}, in_channels=1, classes=4)
    assert {tensor.device.type for tensor in (*shapes.parameters(), *shapes.buffers())} == {"meta"}
    assert shapes[2].weight is shapes[0].weight
    assert network[0].weight.device.type == "cpu"


def test_a_builder_that_can_be_imported_goes_by_its_name(tmp_path):
    assert keep_model(builder, tmp_path) == Model(name=f"{__name__}:builder")
    assert not list(tmp_path.iterdir())


def test_another_builder_is_kept_and_told_what_it_takes(tmp_path):
    width = 3
    kept = keep_model(lambda num_classes, in_chans: nn.Linear(width * in_chans, num_classes), tmp_path)
    assert kept.weights is None
    assert kept.words() == "lambda"
    built = models.build(kept.name, {}, in_channels=2, classes=5)
    assert (built.in_features, built.out_features) == (6, 5)
    assert models.renamed(kept.name) == ["in_chans", "num_classes"]


def test_a_builder_that_fails_is_called_by_its_word(tmp_path):
    kept = keep_model(lambda num_classes: 1 // 0, tmp_path)
    with pytest.raises(SearcherError, match=r"model .lambda. cannot be built with \{\}: ZeroDivision"):
        models.build(kept.name, {}, in_channels=1, classes=10)


def test_what_cannot_be_sent_is_said(tmp_path):
    network = net()
    network.lock = threading.Lock()
    with pytest.raises(SearcherError, match=r"Net cannot be sent to the trials.*pickle '_thread.lock'"):
        keep_model(network, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_gone_is_said(tmp_path):
    kept = keep_model(net(), tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    given.load.cache_clear()
    with pytest.raises(SearcherError, match=r"Net: .*\.pkl is gone; searcher.search writes it again"):
        models.build(kept.name, {}, in_channels=1, classes=10)


def test_a_task_is_kept(tmp_path):
    task = tasks.entry("digits").load()
    name = keep_task(task, tmp_path)
    assert short(name) == "digits"
    assert not is_path(name)
    found = tasks.entry(name)
    assert (found.image, found.classes, found.kind) == ((1, 8, 8), 10, type(task))
    assert found.load().fingerprint == task.fingerprint
    with pytest.raises(SearcherError, match="data: task digits is a Task, which prepares its data itself"):
        tasks.entry(name, Data(size=8))
