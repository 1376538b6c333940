import math
from pathlib import Path

import pandas as pd

from searcher.execution.curve import Curve, Point, read
from tests.conftest import Run

POINTS = [
    Point(0.5, "load", 0, 1, math.nan),
    Point(2.0, "train, again", 1, 2, 0.25),
    Point(3.25, "train, again", 2, 2, 0.75),
]


def same(found: list[Point], expected: list[Point]) -> bool:
    return repr(found) == repr(expected)


def test_what_was_added_is_read(tmp_path: Path):
    curve = Curve(tmp_path / "curve.csv")
    for point in POINTS:
        curve.add(point)
    assert same(read(tmp_path / "curve.csv"), POINTS)
    table = pd.read_csv(tmp_path / "curve.csv")
    assert list(table.columns) == ["seconds", "stage", "epoch", "epochs", "accuracy"]
    assert table["accuracy"].isna().tolist() == [True, False, False]


def test_every_row_is_in_the_file_at_once(tmp_path: Path):
    curve = Curve(tmp_path / "curve.csv")
    for n, point in enumerate(POINTS):
        curve.add(point)
        assert len(read(tmp_path / "curve.csv")) == n + 1


def test_a_row_that_was_cut_off_is_left_out(tmp_path: Path):
    path = tmp_path / "curve.csv"
    curve = Curve(path)
    for point in POINTS:
        curve.add(point)
    path.write_bytes(path.read_bytes()[:-3])
    assert same(read(path), POINTS[:-1])


def test_a_curve_goes_on(tmp_path: Path):
    path = tmp_path / "curve.csv"
    for point in POINTS:
        Curve(path, resume=True).add(point)
    assert same(read(path), POINTS)
    Curve(path).add(POINTS[0])
    assert same(read(path), POINTS[:1])


def test_no_file_no_curve(tmp_path: Path):
    assert read(tmp_path / "curve.csv") == []


def test_a_trial_that_fails_leaves_its_curve(run_command: Run, place: Path):
    (place / "objectives").mkdir()
    (place / "objectives" / "quality.py").write_text(
        "def top1(m):\n    raise ValueError\nMETRICS = {'top1': top1}\n"
    )
    assert run_command("run", "--study", "tiny", "--set", "budget.trials=1").returncode == 1
    points = read(place / "runs" / "tiny@digits" / "trial-00000" / "curve.csv")
    assert [(p.stage, p.epoch, p.epochs) for p in points] == [
        ("load", 0, 1),
        ("train", 1, 2),
        ("train", 2, 2),
        ("quantize", 0, 1),
        ("measure", 0, 1),
    ]
    assert [math.isnan(p.accuracy) for p in points] == [True, False, False, True, True]
    assert [p.seconds for p in points] == sorted(p.seconds for p in points)
