"""A network and a folder of one's own, to a file that onnxruntime runs: by the wheel, as a user has it."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers import folders, own_nets

REPOSITORY = Path(__file__).parents[1]
IMAGES = 300
NETS = {"cnn": 0, "ResNet": 0, "depthwise": 0, "Transformer": 1, "Branching": 1}
"""The networks, and the exit status of `doctor`: 1 where one of the engines cannot do something with it."""

ALONE = """
import sys
sys.modules["torch"] = sys.modules["searcher"] = None
exec(open(sys.argv.pop(1)).read())
"""
"""Runs a script that can import neither."""

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; what it depends on is that of the environment of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *options, "--wheel-dir", folder, REPOSITORY], check=True)
    made = folder / "environment"
    venv.create(made)
    python, (wheel,) = made / "bin" / "python", folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--quiet", wheel], check=True)
    (site,) = made.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return made


@pytest.fixture
def command(environment: Path, tmp_path: Path) -> Command:
    """Runs a command of the environment in a folder of a user's own."""
    shutil.copy(own_nets.__file__, tmp_path / "nets.py")
    folders.digits(tmp_path / "digits", IMAGES)

    def run(*words: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        path = environment / "bin" / words[0]
        done = subprocess.run(
            [path, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_from_a_network_and_a_folder_to_a_file(net: str, command: Command, tmp_path: Path):
    where = command("python", "-c", "import searcher; print(searcher.__file__)").stdout
    assert "site-packages" in where
    pretrained = []
    if net == "ResNet":
        torch.save(own_nets.ResNet(12, 1).state_dict(), tmp_path / "trained.pt")
        pretrained = ["--weights", "trained.pt"]
    small = ["--trials", "3", "--epochs", "1", "--budget", "size_mb <= 2", "--budget", "top1 >= 0"]
    command("searcher", "init", net, "--model", f"nets:{net}", "--data", "./digits", *pretrained, *small)
    examined = command("searcher", "doctor", net, status=NETS[net]).stdout
    assert ("fails" in examined) == bool(NETS[net])
    ran = command("searcher", "run", net).stdout
    assert "trial 0: top1" in ran
    command("searcher", "export", net, "-o", "best.toml")
    command("searcher", "retrain", "best.toml")
    files = list((tmp_path / "best").glob("*.onnx"))
    assert files
    for file in files:
        read = [str(REPOSITORY / "docs" / "onnx_example.py"), str(file)]
        classes = command("python", "-W", "error", "-c", ALONE, *read).stdout.split()
        assert len(classes) == 4
        assert all(0 <= int(one) < 10 for one in classes)
