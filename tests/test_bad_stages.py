"""Parameters of stages that cannot be meant: one message each by `searcher check`, before anything trains."""

from pathlib import Path

import pytest

from tests.conftest import Run

SPACE = """
from searcher.recipe import *
from searcher.config.stages.teaching import Teaching

TINY = Model(name="densenet", args={{"growth_rate": 4, "blocks": [1, 1, 1, 1]}})


def suggest(trial):
    share = trial.suggest_float("share", 0.1, 0.2)
    return Recipe(model=TINY, stages=(Train(share=share), {stage}))
"""

BAD = {
    "a width above 8": ("Quantize(weight_bits=9)", "weight_bits"),
    "a width below 2": ("Quantize(activation_bits=1)", "activation_bits"),
    "a block's width": ('Quantize(bits={"stem": {"weights": 16}})', "bits.stem.weights"),
    "an observer": ('Quantize(observer="median")', "observer"),
    "a percentile": ('Quantize(observer="percentile", percentile=101)', "percentile"),
    "a percentile that no observer takes": ("Quantize(percentile=99.0)", "observer is minmax"),
    "a percentile in training": ("QuantizeAware(percentile=99.0)", "observer is histogram"),
    "a number of images and a share": (
        "Quantize(calibration_images=64, calibration_share=0.5)",
        "expected one of them",
    ),
    "a width in training": ("QuantizeAware(weight_bits=1)", "weight_bits"),
    "a block of widths": ('Quantize(bits={"dense9": {"weights": 4}})', "dense9"),
    "a block of widths in training": ('QuantizeAware(bits={"dense9": {"weights": 4}})', "dense9"),
    "a block that is kept out": ('Quantize(exclude={"dense9": 32})', "dense9"),
    "widths of what is kept out": ('Quantize(exclude={"stem": 32}, bits={"stem": {"weights": 4}})', "stem"),
    "a module of ternary weights": ('Ternary(exclude=("dense9",))', "dense9"),
    "a threshold": ("Ternary(threshold=1.0)", "threshold"),
    "a rank of nothing": ("LowRank(ratio=0.0)", "ratio"),
    "a rank above the full one": ("LowRank(ratio=1.5)", "ratio"),
    "an energy above all": ("LowRank(energy=1.0)", "energy"),
    "two rules of ranks": ("LowRank(ratio=0.5, energy=0.5)", "ratio"),
    "no rule of ranks": ("LowRank()", "ratio"),
    "a layer of ranks": ('LowRank(ratio=0.5, layers=("dense9",))', "dense9"),
    "a layer of ranks that has none": ('LowRank(ratio=0.5, layers=("pool",))', "pool"),
    "ranks that make nothing smaller": ("LowRank(ratio=0.99)", "smaller"),
    "a module of ratios": ('PruneChannels(ratio=0.5, ratios={"dense9": 0.5})', "dense9"),
    "a ratio of all": ('PruneChannels(ratio=0.5, ratios={"stem": 1.0})', "ratios.stem"),
    "dynamic and static": ('Quantize(dynamic=True, observer="histogram")', "observer"),
    "dynamic without a linear layer": ('Quantize(dynamic=True, exclude={"classifier": 32})', "linear layers"),
    "a teacher of other classes": ('Distill(teacher=Model(name="tests.test_bad_stages:of_seven"))', "7"),
    "a teacher of no family": ('Distill(teacher=Model(name="densnet"))', "densnet"),
    "a teacher that does not run": ('Distill(teacher=Model(name="tests.test_bad_stages:of_rgb"))', "of_rgb"),
    "a layer of the teacher": ('Distill(teacher=TINY, features={"stem": "stam"})', "stam"),
    "a layer to be taught": ('Distill(teacher=TINY, attention={"stam": "stem"})', "stam"),
    "a teacher while ranks are low": (
        'LowRank(ratio=0.5, teaching=Teaching(teacher=Model(name="tests.test_bad_stages:of_seven")))',
        "7",
    ),
}


def of_seven():
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def of_rgb():
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 10, 8), nn.Flatten())


@pytest.mark.parametrize(("stage", "message"), BAD.values(), ids=BAD)
def test_it_is_told_before_anything_trains(stage: str, message: str, place: Path, run_command: Run) -> None:
    (place / "spaces" / "tiny.py").write_text(SPACE.format(stage=stage))
    said = run_command("check", "tiny")
    assert said.status == 2
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in said.out
