"""Files of weights that a network begins with: what is taken, and what is said of all others."""

import pickle
import random
import subprocess
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from searcher.compression.engines.initial_weights import initialise
from searcher.errors import SearcherError


class Net(nn.Module):
    """With a child of its own that is called as a parallel training calls the whole network."""

    def __init__(self, inner: str = "module"):
        super().__init__()
        self.add_module(inner, nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
        self.head = nn.Linear(4, 2)


def net(seed: int = 0, inner: str = "body") -> Net:
    torch.manual_seed(seed)
    return Net(inner)


def state(**changes):
    """A fitting state dict with some entries changed; None drops one."""
    whole = dict(net(1).state_dict()) | {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in whole.items() if value is not None}


def saved(content):
    return lambda path: torch.save(content, path)


def pickled(content):
    return lambda path: path.write_bytes(pickle.dumps(content))


def cut(content):
    def write(path):
        torch.save(content, path)
        path.write_bytes(path.read_bytes()[:-200])

    return write


def safe(content, length=None):
    return lambda path: path.write_bytes(safetensors.torch.save(content)[:length])


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "a")


def scripted(path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), path)


W, HEAD = "body.0.weight", torch.rand(2, 4)
EXPECTED = "; expected a safetensors file, or a state dict that torch.save has written, of tensors alone"
REFUSED = {
    "absent": (lambda path: None, "No such file or directory"),
    "folder": (lambda path: path.mkdir(), f"is a folder{EXPECTED}"),
    "empty": (lambda path: path.write_bytes(b""), f"is an empty file{EXPECTED}"),
    "text": (lambda path: path.write_text("Gewichte, é\n" * 999), f"is a text file{EXPECTED}"),
    "bytes": (lambda path: path.write_bytes(b"\x93NUMPY\0\xff" * 9), f"is a file of another kind{EXPECTED}"),
    "archive": (archive, f"is a zip archive that torch.save has not written{EXPECTED}"),
    "cut archive": (cut(state()), f"is a damaged file of torch.save, or another zip archive{EXPECTED}"),
    "cut pickle": (
        lambda path: path.write_bytes(pickle.dumps({"a": [1] * 99})[:40]),
        f"is a pickle, and cannot be read: it is damaged{EXPECTED}",
    ),
    "object": (
        saved(net()),
        f"is a file of torch.save, with a {__name__}.Net in it, which is never run{EXPECTED}",
    ),
    "pickled object": (
        lambda path: path.write_bytes(pickle.dumps(random.Random(0))),
        f"is a pickle, and cannot be read: it is damaged{EXPECTED}",
    ),
    "list": (saved([1, 2]), f"holds a list{EXPECTED}"),
    "pickled list": (pickled([1, 2]), f"is a pickle, and cannot be read: it is damaged{EXPECTED}"),
    "tensor": (saved(torch.rand(3)), f"holds a tensor{EXPECTED}"),
    "nested list": (saved({"state_dict": [1]}), f"holds a list{EXPECTED}"),
    "numbered": (saved({0: torch.rand(3)}), f"holds a dict{EXPECTED}"),
    "cut": (safe(state(), -50), f"is a safetensors file, and cannot be read: it is damaged{EXPECTED}"),
    "cut header": (safe(state(), 40), f"is a safetensors file, and cannot be read: it is damaged{EXPECTED}"),
    "nothing": (saved({}), "does not fit the network: body.0.bias is missing; body.0.weight is missing; "
                "body.1.bias is missing; and 5 more"),
    "number": (saved(state(head__bias=3)), "head.bias: a number, expected a tensor of 2"),
    "text inside": (saved(state(head__bias="3")), "head.bias: a str, expected a tensor of 2"),
    "sparse": (
        saved(state(head__weight=HEAD.to_sparse())), "head.weight: a sparse tensor, expected a tensor of 2×4",
    ),
    "meta": (
        saved(state(head__weight=HEAD.to("meta"))),
        "head.weight: a tensor of float32 without values, expected a tensor of 2×4",
    ),
    "int32": (saved(state(head__weight=HEAD.int())), "head.weight: of type int32, expected float32"),
    "int8": (safe(state(head__weight=HEAD.char())), "head.weight: of type int8, expected float32"),
    "bool": (saved(state(head__weight=HEAD > 0.5)), "head.weight: of type bool, expected float32"),
    "complex": (saved(state(head__weight=HEAD * 1j)), "head.weight: of type complex64, expected float32"),
    "all whole": (
        saved({name: t.int() for name, t in state().items()}),
        "body.0.weight: of type int32, expected float32; body.0.bias: of type int32, expected float32; "
        "body.1.weight: of type int32, expected float32; and 5 more",
    ),
    "NaN": (
        saved(state(head__weight=HEAD * float("nan"))), "head.weight: 8 of 8 values are not finite in float32"
    ),
    "too large": (
        saved(state(head__bias=torch.tensor([1.0, 1e300], dtype=torch.float64))),
        "head.bias: 1 of 2 values are not finite in float32",
    ),
    "sizes": (saved(state(head__weight=torch.rand(3, 4))), "head.weight: size mismatch: 3×4, expected 2×4"),
    "one for all": (
        saved(state(head__bias=torch.tensor(1.0))), "head.bias: size mismatch: one number, expected 2"
    ),
    "missing": (saved(state(head__bias=None)), "head.bias is missing"),
    "too much": (saved(state(tail=torch.rand(2))), "tail is not in the network"),
    "of another network": (
        saved(nn.Sequential(nn.Linear(2, 2)).state_dict()),
        "body.0.bias is missing; body.0.weight is missing; body.1.bias is missing; and 7 more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_what_is_refused_is_one_sentence_of_our_own(case, suffix, tmp_path):
    write, text = REFUSED[case]
    path, network = tmp_path / f"weights.{suffix}", net()
    write(path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(SearcherError) as refused:
        initialise(network, path)
    said = str(refused.value)
    assert said.startswith(f"weights {path}: ")
    assert said.count("\n") == 0
    assert "weights_only" not in said
    assert "object has no attribute" not in said
    assert len(said) < 400 + len(str(path))
    if suffix == "pt" or not said.endswith(EXPECTED):
        assert said.endswith(text)
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


TAKEN = {
    "saved": saved(state()),
    "safe": safe(state()),
    "half": saved({name: t.half() if t.is_floating_point() else t for name, t in state().items()}),
    "bfloat16": safe({name: t.bfloat16() if t.is_floating_point() else t for name, t in state().items()}),
    "double": saved({name: t.double() for name, t in state().items()}),
    "nested": saved({"state_dict": state(), "epoch": 3}),
    "parallel": saved({f"module.{name}": t for name, t in state().items()}),
    "compiled": saved({f"_orig_mod.{name}": t for name, t in state().items()}),
    "compiled in parallel": saved({f"module._orig_mod.{name}": t for name, t in state().items()}),
    "without counters": safe({name: t for name, t in state().items() if "num_batches" not in name}),
    "parameters": saved(
        {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in state().items()}
    ),
}


@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("suffix", ["pt", "safetensors", "bin"])
def test_what_is_taken(case, suffix, tmp_path):
    path, network = tmp_path / f"weights.{suffix}", net()
    TAKEN[case](path)
    initialise(network, path)
    for name, tensor in state().items():
        exact = case not in ("half", "bfloat16")
        assert torch.allclose(
            network.state_dict()[name].double(), tensor.double(), rtol=0, atol=0 if exact else 0.01
        )
        assert network.state_dict()[name].dtype == tensor.dtype


@pytest.mark.parametrize("inner", ["module", "body"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_child_that_is_called_module(inner, prefix, tmp_path):
    given, network = net(1, inner), net(2, inner)
    torch.save({f"{prefix}{name}": t for name, t in given.state_dict().items()}, tmp_path / "w.pt")
    initialise(network, tmp_path / "w.pt")
    assert torch.equal(network.head.weight, given.head.weight)
    assert torch.equal(getattr(network, inner)[0].weight, getattr(given, inner)[0].weight)


def test_a_network_all_in_a_child_that_is_called_module(tmp_path):
    given, network = nn.Sequential(), nn.Sequential()
    given.add_module("module", nn.Linear(2, 2))
    network.add_module("module", nn.Linear(2, 2))
    for content in (given.state_dict(), {f"module.{n}": t for n, t in given.state_dict().items()}):
        torch.save(content, tmp_path / "w.pt")
        initialise(network, tmp_path / "w.pt")
        assert torch.equal(network.module.weight, given.module.weight)


class Masked(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        self.register_buffer("order", torch.tensor([1, 0]))


def test_what_is_infinite_in_the_network_may_be_so_in_the_file(tmp_path):
    torch.save(Masked().state_dict(), tmp_path / "w.pt")
    initialise(Masked(), tmp_path / "w.pt")
    torch.save(Masked().state_dict() | {"order": torch.rand(2)}, tmp_path / "w.pt")
    with pytest.raises(SearcherError, match="order: of type float32, expected int64"):
        initialise(Masked(), tmp_path / "w.pt")


def test_nothing_in_a_file_is_run(tmp_path: Path):
    class Run:
        def __reduce__(self):
            return subprocess.check_call, (["touch", str(tmp_path / "run")],)

    for write in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))):
        write({"head.weight": Run()}, tmp_path / "w.pt")
        with pytest.raises(SearcherError, match=r"never run|damaged"):
            initialise(net(), tmp_path / "w.pt")
    assert not (tmp_path / "run").exists()
