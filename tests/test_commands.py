"""The command line's manners: names, options, JSON, and what is said on narrow and on no terminals."""

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from searcher import __version__
from searcher.config.recipe import Model, Recipe
from searcher.execution.curve import CURVE, read
from searcher.execution.local import Local
from searcher.execution.messages import Done, Failed, Job, Outcome, Progress
from searcher.execution.worker import _Diary
from searcher.searching.status import status
from searcher.searching.sweep import Row
from searcher.ui.commands.launching import goes_on
from searcher.ui.terminal import training
from searcher.ui.terminal.status import StatusTable
from searcher.ui.terminal.sweep import SweepView
from searcher.ui.terminal.training import TrainingView
from searcher.ui.terminal.verified import VerifyView
from tests.conftest import Run
from tests.helpers.studies import store, study

RECIPE = Recipe(model=Model(name="densenet"), stages=())


@pytest.fixture
def told(place: Path) -> Path:
    store(place / "runs", study(), [(0.4, 1.0), (0.6, 2.0), (0.7, 3.0)])
    return place


def console(*, terminal: bool, width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def text(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def test_the_version(run_command: Run):
    assert run_command("--version") == (0, f"searcher {__version__}\n", "")


def test_help_is_complete_and_has_a_short_name(run_command: Run):
    helped = run_command("batch", "-h")
    assert helped.status == 0
    assert "in each study's [cluster]" in " ".join(helped.out.split())
    assert run_command("store", "gc", "-h").status == 0
    assert "--install-completion" in run_command("-h").out


@pytest.mark.parametrize(
    "args",
    [
        ["run"],
        ["sweep", "--stage", "train.lr=0.1"],
        ["check"],
        ["show"],
        ["report"],
        ["export"],
        ["verify"],
    ],
)
def test_a_study_is_named_with_or_without_the_option(run_command: Run, told: Path, args: list[str]):
    plain, option = run_command(*args, "tolld"), run_command(*args, "--study", "tolld")
    assert plain == option
    assert plain.status == 2
    assert "tolld" in plain.err
    assert run_command(*args, "one", "--study", "other").err == (
        "error: two studies are named: one, and other by --study\n"
    )
    assert "name a study" in run_command(*args).err


def test_tables_as_json(run_command: Run, told: Path):
    shown = json.loads(run_command("show", "told", "--json").out)
    assert shown["study"] == "told@digits"
    assert [(t["trial"], t["top1"], t["front"]) for t in shown["trials"]] == [(2, 0.7, True), (1, 0.6, True)]
    every = json.loads(run_command("show", "told", "--all", "--json").out)
    assert [t["feasible"] for t in every["trials"]] == [False, True, True]
    listed = json.loads(run_command("ls", "--json").out)
    assert listed["studies"]["tiny"] == str(told / "studies" / "tiny.toml")
    assert listed["stored"] == [
        {"name": "told@digits", "complete": 3, "failed": 0, "asked for": 20, "front": 2, "feasible": True}
    ]
    (one,) = json.loads(run_command("status", "--json").out)
    assert (one["study"], one["complete"], one["finished"], one["driver"]) == ("told@digits", 3, 3, None)
    assert json.loads(run_command("status", "--json", "--runs-dir", "none").out) == []


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_status_is_read_at_any_width(told: Path, width: int):
    found = replace(
        status(told / "runs", "told@digits"),
        driver="node-0123.cluster.example.org pid 1234567",
        running=4,
        queued=12,
        seconds_left=7620.0,
    )
    shown = console(terminal=False, width=width)
    shown.print(StatusTable([found]))
    lines = [line.rstrip() for line in text(shown).splitlines()]
    assert max(map(len, lines)) <= width
    (figures,) = [line for line in lines if "told@digits" in line and "3/20" in line]
    assert "2 h 07 min" in figures
    words = " ".join(text(shown).split())
    if width < 110:
        assert (
            "told@digits 3 complete, 4 running, 12 queued; driver: node-0123.cluster.example.org pid 1234567"
            in words
        )
    assert sum("node-0123.cluster.example.org" in line for line in lines) == 1


def test_the_hint_after_ctrl_c_has_the_runs_folder():
    assert goes_on(Local(1), "tiny", Path("runs")) == (
        "the same command goes on; searcher show tiny has the table"
    )
    assert "searcher show tiny --runs-dir 'my runs' has" in goes_on(Local(1), "tiny", Path("my runs"))


@pytest.mark.parametrize("terminal", [False, True])
def test_a_retraining_says_its_steps_and_never_nan(terminal: bool):
    shown = console(terminal=terminal)
    with TrainingView(shown) as view:
        view.step("seed 0, rehearse")
        view.step("seed 0, train")
        for epoch in (1, 2):
            view.report(0, "train", epoch, 2, 0.5 + epoch / 10)
        view.report(0, "quantize", 0, 1, math.nan)
        for done in range(0, 600, 100):
            view.step("check model.onnx", done, 500)
    said = text(shown)
    assert "nan" not in said
    assert "seed 0, quantize" in said
    assert "check model.onnx" in said
    assert "validation 0.7000" in said
    if not terminal:
        assert said.splitlines() == [
            "seed 0, rehearse …",
            "seed 0, train … 2 epochs, validation 0.7000",
            "seed 0, quantize …",
            "check model.onnx …",
        ]


def test_a_step_that_takes_a_second_says_so_and_what_has_no_line_belongs_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
):
    now = [0.0]
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    shown = console(terminal=False)

    def retraining(view: TrainingView) -> None:
        view.step("load the data")
        now[0] = 3.0
        view.step("seed 0, rehearse")
        now[0] = 3.5
        view.step("seed 0, train")
        now[0] = 10.0
        view.report(0, "train", 1, 1, 0.5)
        now[0] = 40.0
        view.report(0, "prune channels", 1, 1, 0.25)
        view.step("write the report")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), TrainingView(shown) as view:
        retraining(view)
    assert text(shown).splitlines() == [
        "load the data … 3 s",
        "seed 0, rehearse …",
        "seed 0, train … 1 epoch, validation 0.5000, 6 s",
        "seed 0, prune channels … 1 epoch, validation 0.2500, 30 s",
        "write the report … stopped",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_verifying_prints_what_has_ended_and_shows_what_runs(terminal: bool):
    shown = console(terminal=terminal)
    jobs = [Job(study(), number, RECIPE, Path(str(number)), 1) for number in (3, 4)]
    with VerifyView(shown) as view:
        for job in jobs:
            view.progress(job, Progress("train", 1, 2, 0.25))
        view.told(jobs[0], "[1/2] trial 3, seed 0: top1 0.5000")
    said = text(shown)
    assert "[1/2] trial 3, seed 0: top1 0.5000" in said
    assert ("trial 4, seed 0: train 1/2, validation 0.2500" in said) == terminal
    assert (len(said.splitlines()) == 1) != terminal


def test_a_sweep_without_a_terminal_prints_a_line_an_epoch():
    shown, errors = console(terminal=False), console(terminal=False)
    with SweepView(shown, errors, study()) as view:
        view.progress(0.1, Progress("load", 0, 1, math.nan))
        view.progress(0.1, Progress("train", 1, 2, 0.25))
        view.progress(0.1, Progress("train", 1, 2, 0.25))
        view.told(Row(0.1, RECIPE, Done({"top1": 0.5, "macs": 100.0}, 3.0)))
        view.told(Row(0.2, RECIPE, Failed("no [bold]room")))
    assert text(errors).splitlines() == ["0.1: load", "0.1: train 1/2, validation 0.2500"]
    assert text(shown).splitlines() == [
        "0.1: top1 0.5000, macs 100, 3 s",
        "0.2: no [bold]room",
    ]


def test_a_trials_log_has_no_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    class Nobody:
        def send(self, said: Progress | Outcome) -> None: ...

        def wait(self, rung: int) -> None: ...

    diary = _Diary(Job(study(), 0, RECIPE, tmp_path, 1), Nobody())
    diary.report("quantize", 0, 1, math.nan)
    diary.report("train", 1, 2, 0.5)
    assert [line.split(" s  ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "quantize 0/1",
        "train 1/2 0.5000",
    ]
    assert [point.stage for point in read(tmp_path / CURVE)] == ["quantize", "train"]
