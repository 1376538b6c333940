"""The whole way on digits: search, export, retrain, ONNX, ONNX Runtime; and the front with other seeds."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from searcher import tasks
from searcher.compression.engines import weights
from searcher.config import recipe_file
from searcher.deploy.retrain import retrain
from searcher.searching.storage import studies
from searcher.searching.verify import Verified, judge
from tests.conftest import Run, command, commands_in, make_place
from tests.helpers.processes import until
from tests.test_cli import refused
from tests.test_pick import STUDY, trial

FILES = {
    *("README.md", "metrics.json", "recipe.toml", "report.html"),
    *("model.int8.onnx", "model.onnx", "model.safetensors"),
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that was searched with enough epochs to learn something, and trial 0 of it exported."""
    folder = make_place(tmp_path_factory.mktemp("searched"))
    text = (folder / "studies" / "tiny.toml").read_text()
    (folder / "studies" / "tiny.toml").write_text(text.replace("epochs = 2", "epochs = 12"))
    with commands_in(folder) as run:
        done = run("run", "--study", "tiny", "--set", "budget.trials=1")
        assert done.returncode == 0, done.stdout + done.stderr
        result = run("export", "--study", "tiny", "--pick", "0", "-o", "best.toml")
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def exported(searched: Path, place: Path) -> Path:
    """A copy of that, and the recipe's file in it."""
    shutil.copytree(searched, place, dirs_exist_ok=True)
    return place / "best.toml"


@pytest.mark.slow
def test_from_search_to_onnx_runtime(run_command: Run, exported: Path, place: Path):
    result = run_command("retrain", "best.toml")
    assert result.returncode == 0, result.stdout + result.stderr
    folder = place / "best"
    assert {path.name for path in folder.iterdir()} == FILES
    found = json.loads((folder / "metrics.json").read_text())
    assert all(line["met"] for line in found["result"]["lines"])
    # The same seed and budget give the very model of the search.
    study = studies.load(place / "runs", "tiny@digits")[0]
    metrics = study.trials[0].user_attrs["metrics"]
    assert found["result"]["seeds"][0]["validation"] == pytest.approx(metrics)
    assert metrics["top1"] > 0.5
    agreement = found["onnx"]["model.int8.onnx"]
    assert abs(agreement["quality_onnx"] - agreement["quality"]) <= 0.002 + 1e-9
    assert agreement["equal_share"] >= 0.98
    task = tasks.entry("digits").load()
    session = onnxruntime.InferenceSession(folder / "model.int8.onnx")
    (logits,) = session.run(None, {"images": task.normalise(task.test.images).contiguous().numpy()})
    right = (torch.from_numpy(logits).argmax(1) == task.test.labels).double().mean()
    assert float(right) == agreement["quality_onnx"]
    assert load_file(folder / "model.safetensors")["stem.weight"].dtype == torch.int8
    card = (folder / "README.md").read_text()
    assert "| top1 |" in card
    assert "fingerprint" in card
    # Again: what is there is left, and said.
    before = (folder / "model.onnx").stat().st_mtime_ns
    again = run_command("retrain", "best.toml")
    assert "best holds this retraining already" in again.stdout
    assert (folder / "model.onnx").stat().st_mtime_ns == before

    text = exported.read_text()
    exported.write_text(re.sub(r"(\[expected\.top1\]\nvalue = )[\d.]+", r"\g<1>1.2", text))
    missed = run_command("retrain", "best.toml")
    assert missed.returncode == 3, missed.stdout
    assert "MISSED" in missed.stdout


@pytest.mark.slow
def test_a_killed_retraining_goes_on_from_its_last_epoch(run_command: Run, exported: Path, place: Path):
    undisturbed, network, _ = retrain(
        recipe_file.load(exported), place / "undisturbed", 1, 8, lambda *_: None
    )
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SEARCHER")}
    process = subprocess.Popen(command("retrain", "best.toml", "--epochs", "8"), cwd=place, env=clean)
    until(lambda: bool(list((place / "best").rglob("*.pt"))))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (state,) = (place / "best").rglob("*.pt")
    done = len(torch.load(state, weights_only=True)["accuracies"])
    resumed = run_command("retrain", "best.toml", "--epochs", "8")
    assert resumed.returncode == (0 if undisturbed.met else 3)
    assert 0 < done <= 8
    a, b = weights.deployed(network.executed), load_file(place / "best" / "model.safetensors")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_the_front_with_other_seeds(run_command: Run, place: Path):
    asked = ["run", "--study", "tiny", "--set", "budget.trials=1", "--set", "budget.epochs=1"]
    assert run_command(*asked).returncode == 0
    result = run_command("verify", "--study", "tiny", "--seeds", "2", "--workers", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "tiny@digits, front with other seeds" in result.stdout
    assert re.search(r"\[\d/\d\] trial \d, seed [12]: top1 0\.\d+", result.stdout)
    assert re.search(r"holds|luck", result.stdout)
    folders = list((place / "runs" / "tiny@digits" / "verify").iterdir())
    measured = json.loads((folders[0] / "metrics.json").read_text())["metrics"]
    assert {"top1", "test top1", "micronet_score:imt-2022"} == set(measured)
    again = run_command("verify", "--study", "tiny", "--seeds", "2")
    assert "seed 1:" not in again.stdout
    assert "tiny@digits, front" in again.stdout


def seeds(*values: tuple[float, float]) -> list[dict[str, float]]:
    return [{"top1": top1, "micronet_score:imt-2022": score, "test top1": top1} for top1, score in values]


def test_luck_is_what_does_not_stay_on_the_front_of_the_means():
    points = [
        Verified(trial(0, 0.95, 0.03), seeds((0.94, 0.03), (0.92, 0.03)), []),
        Verified(trial(1, 0.94, 0.02), seeds((0.91, 0.02), (0.92, 0.02)), []),
        Verified(trial(2, 0.93, 0.01), seeds((0.93, 0.01), (0.93, 0.01)), []),
        Verified(trial(3, 0.91, 0.005), seeds((0.88, 0.005), (0.91, 0.005)), []),
        Verified(trial(4, 0.90, 0.004), [], ["killed by SIGKILL"]),
    ]
    verdicts = [point.verdict for point in judge(STUDY, points)]
    assert verdicts == [
        "luck: another point is better on average",
        "luck: another point is better on average",
        "holds",
        "luck: top1 >= 0.9 does not hold on average",
        "failed again: killed by SIGKILL",
    ]
    assert points[0].mean("top1") == pytest.approx(0.93)
    assert points[0].deviation("top1") == pytest.approx(0.01414, abs=1e-4)
    assert points[4].deviation("top1") == 0


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["export", "--study", "tiny"], "nothing is stored in runs yet"),
        (["retrain", "none.toml"], "none.toml: No such file"),
        (["retrain", "studies/tiny.toml"], "recipe: missing"),
        (["verify", "--study", "tiny"], "nothing is stored in runs yet"),
    ],
)
def test_bad_input_is_one_message(run_command: Run, args: list[str], expected: str):
    assert expected in refused(run_command(*args))
