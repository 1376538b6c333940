import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import optuna
import pandas as pd
import pytest

from searcher.searching.storage import backends
from searcher.tasks.classification import cifar10
from tests.conftest import Ran, Run, Searcher, command
from tests.helpers.studies import store, study

SHORT = ["run", "--study", "tiny", "--set", "budget.epochs=1"]
ONE_TRIAL = [*SHORT, "--set", "budget.trials=1"]


def refused(result: subprocess.CompletedProcess[str] | Ran) -> str:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_help_imports_neither_torch_nor_plotly():
    code = "import sys; from searcher.ui.cli import app; app(['--help'], standalone_mode=False)"
    code += "; print({'torch', 'plotly'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("set()")


def test_tables_import_no_torch_pandas_or_plotly(tmp_path: Path):
    store(tmp_path, study(), [(0.5, 0.0), (1.0, 100.0), (0.8, 40.0)])
    code = """
import contextlib, sys
from searcher.ui.cli import main
for args in (["show", "told"], ["show", "told", "--all"], ["show", "tolld"], ["ls"], ["status"]):
    with contextlib.suppress(SystemExit):
        main([*args, "--runs-dir", sys.argv[1]])
print({"torch", "pandas", "plotly", "scipy", "nni", "submitit", "onnx"} & set(sys.modules))
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.count("told@digits") == 5
    assert "did you mean told@digits?" in result.stderr
    assert result.stdout.rstrip().endswith("set()")


@pytest.mark.slow
def test_a_study_from_run_to_csv(searcher: Searcher, run_command: Run, place: Path):
    asked = ["--workers", "2", "--set", "budget.epochs=1"]
    result = searcher("run", "--study", "tiny", *asked)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "4 complete: tiny@digits in runs" in result.stdout
    assert sorted(re.findall(r"^trial (\d+): top1", result.stdout, re.M)) == ["0", "1", "2", "3"]
    folder = place / "runs" / "tiny@digits" / "trial-00000"
    left = {"recipe.toml", "metrics.json", "cost.json", "curve.csv", "log.txt"}
    assert {p.name for p in folder.iterdir()} == left

    shown = run_command("show", "tiny", "--all", "--csv", "all.csv")
    assert shown.returncode == 0
    assert "densenet k=4" in shown.stdout
    table = pd.read_csv(place / "all.csv")
    assert list(table["trial"]) == [0, 1, 2, 3]
    assert set(table["state"]) == {"complete"}
    assert table["micronet_score:imt-2022"].between(0.0001, 0.1).all()
    assert table["front"].any()

    trial = run_command("cost", "tiny#0")
    assert "counted on what the trial executed, for an input of 1×8×8" in trial.stdout
    counted = re.search(r"^ *imt-2022 +([\d.]+)", trial.stdout, re.M)
    assert counted is not None
    assert float(counted[1]) == pytest.approx(table["micronet_score:imt-2022"][0], rel=1e-4)
    assert "no trial '9' in tiny@digits; known: 0 to 3" in refused(run_command("cost", "tiny#9"))

    assert "no study stored in runs named 'tinny'; did you mean tiny@digits?" in refused(
        run_command("show", "tinny")
    )
    assert "tiny@digits" in run_command("ls").stdout
    again = run_command("run", "--study", "tiny", *asked)
    assert again.returncode == 0
    assert "trial 4" not in again.stdout


@pytest.mark.slow
def test_check_says_what_a_study_is(run_command: Run):
    result = run_command("check", "micronet", "--set", "task=digits")
    assert result.returncode == 0, result.stderr
    assert "study micronet@digits is fine" in result.stdout
    assert "8 known configurations" in result.stdout


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["run", "--study", "tinny"], "no study named 'tinny'; did you mean tiny?"),
        (["run", "--study", "tiny", "--set", "budget.trails=3"], "did you mean trials or train_images?"),
        (["run", "--study", "tiny", "--set", "space=tini"], "no space named 'tini'; did you mean tiny?"),
        (
            ["run", "--study", "tiny", "--set", "task=digits1"],
            "no task named 'digits1'; did you mean digits or digit-masks or digit-scenes?",
        ),
        (
            ["run", "--study", "tiny", "--set", 'metrics=[{metric="top"}]'],
            "no metric named 'top'; did you mean top1?",
        ),
        (
            ["run", "--study", "tiny", "--set", 'metrics=[{metric="micronet_score",variant="imt-2021"}]'],
            "no score variant named 'imt-2021'; did you mean imt-2025 or imt-2022",
        ),
        (["run", "--study", "tiny", "--set", "seed=-1"], "seed: input should be greater than or equal to 0"),
        (["run", "--study", "tiny", "--set", "extends=other"], "extends can be given in a study file alone"),
        (["run", "--study", "tiny", "--workers", "0"], "--workers"),
        (
            ["run", "--study", "tiny", "--runs-dir", "/proc/runs"],
            "the runs folder /proc/runs cannot be written",
        ),
        (["show", "tiny"], "nothing is stored in runs yet; searcher run --study tiny begins"),
        (["dashboard"], "nothing is stored in runs yet"),
        (["data", "fetch", "digits"], "comes with the installation"),
        (["data", "fetch", "cifar"], "did you mean cifar10?"),
    ],
)
def test_bad_input_is_one_message_and_status_2(run_command: Run, place: Path, args: list[str], expected: str):
    message = refused(run_command(*args))
    assert expected in message
    assert not (place / "runs" / "tiny@digits").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("spaces/tiny.py", "def suggest", "def suggests", "tiny.py: expected a function suggest(trial)"),
        ("spaces/tiny.py", "    return Recipe", "    Recipe", "tiny.py: ENQUEUE[0]: suggest returned None"),
        ("spaces/tiny.py", '"growth_rate": 4', '"growth_rates": 4', "tiny.py: ENQUEUE[0]: ValueError"),
        ("spaces/tiny.py", '"growth_rate": 4', '"growth_rate": 4, "depth": 3', "does not suggest depth"),
        ("spaces/tiny.py", "from searcher.recipe", "from searcher.recipes", "tiny.py: ModuleNotFoundError"),
        ("objectives/mine.py", "", "def f(m): return 1", "mine.py: expected METRICS"),
    ],
)
def test_broken_content_is_one_message_before_anything_runs(
    run_command: Run, place: Path, file: str, old: str, new: str, expected: str
):
    path = place / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(path.read_text().replace(old, new) if path.exists() else new)
    assert expected in refused(run_command("run", "--study", "tiny"))
    assert not (place / "runs").exists()


def test_a_damaged_storage_is_refused_and_kept(run_command: Run, place: Path):
    (place / "runs").mkdir()
    (place / "runs" / "optuna.db").write_bytes(b"not a database" * 1000)
    for args in (["run", "--study", "tiny"], ["show", "tiny"], ["ls"]):
        assert "optuna.db cannot be used: file is not a database" in refused(run_command(*args))
    assert (place / "runs" / "optuna.db").read_bytes() == b"not a database" * 1000


@pytest.mark.slow
def test_a_study_that_was_cut_off_at_its_creation_is_begun_anew(run_command: Run, place: Path):
    backends.make_runs(place / "runs")
    optuna.create_study(
        study_name="tiny@digits", storage=backends.open_storage(place / "runs"), directions=["minimize"]
    )
    assert "nothing is stored in runs yet" in refused(run_command("show", "tiny"))
    assert run_command("ls").returncode == 0
    assert run_command(*ONE_TRIAL).returncode == 0


def test_a_parameter_named_like_a_metric_does_not_hide_it(run_command: Run, place: Path):
    space = place / "spaces" / "tiny.py"
    space.write_text(space.read_text().replace('"growth_rate", 2, 6', '"top1", 2, 6') + "\nENQUEUE = []\n")
    assert run_command(*ONE_TRIAL).returncode == 0
    assert run_command("show", "tiny", "--csv", "front.csv").returncode == 0
    (row,) = pd.read_csv(place / "front.csv").to_dict("records")
    assert 0 <= row["top1"] <= 1
    assert 2 <= row["param:top1"] <= 6


@pytest.mark.slow
def test_a_study_that_changed_is_refused_and_kept(run_command: Run, place: Path):
    assert run_command(*ONE_TRIAL).returncode == 0
    before = (place / "runs" / "optuna.db").read_bytes()
    for change, expected in [
        ("budget.epochs=3", "epochs: stored 1, now 3"),
        (
            "objectives=[{metric='top1',goal='maximize'},{metric='macs',goal='minimize'}]",
            "objectives: stored",
        ),
    ]:
        message = refused(run_command(*SHORT, "--set", change))
        assert expected in message
    space = place / "spaces" / "tiny.py"
    space.write_text(space.read_text().replace("0.05", "0.06"))
    assert "space code: stored" in refused(run_command(*SHORT))
    space.write_text("# said otherwise\n" + space.read_text().replace("0.06", "0.05"))
    assert (place / "runs" / "optuna.db").read_bytes() == before
    assert run_command(*ONE_TRIAL).returncode == 0


def test_damaged_data_is_refused_before_anything_is_stored(run_command: Run, place: Path):
    folder = place / "data" / cifar10.FOLDER
    folder.mkdir(parents=True)
    (folder / "data_batch_1.bin").write_bytes(b"\0" * 100)
    message = refused(run_command("run", "--study", "tiny", "--set", "task=cifar10"))
    assert "data_batch_1.bin: 100 bytes, expected 30,730,000" in message
    assert not (place / "runs").exists()


@pytest.mark.slow
def test_the_dashboard_serves_what_is_stored(run_command: Run, place: Path):
    store(place / "runs", study(name="tiny"), [(0.4, 1.0)])
    served = subprocess.Popen(
        command("dashboard", "--port", "0"), cwd=place, stdout=subprocess.PIPE, text=True
    )
    try:
        address = re.search(r"http://127.0.0.1:\d+/", served.stdout.readline())[0]
        with urllib.request.urlopen(f"{address}api/studies") as answer:
            (found,) = json.load(answer)["study_summaries"]
        assert found["study_name"] == "tiny@digits"
        with urllib.request.urlopen(f"{address}dashboard/") as answer:
            assert b"<title>Optuna Dashboard</title>" in answer.read()
        port = address.rstrip("/").rpartition(":")[2]
        assert f"port {port}: Address already in use" in refused(run_command("dashboard", "--port", port))
        served.send_signal(signal.SIGINT)
        assert served.wait(600) == 0
    finally:
        served.kill()
        served.wait()
        served.stdout.close()
