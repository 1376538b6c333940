"""A front with other seeds, on terminals of any width."""

import pytest
from rich.console import Console

from searcher.config.metric import Objective
from searcher.searching.verify import Verified, judge
from searcher.ui.terminal.verified import VerifiedTable
from tests.test_deliver import seeds
from tests.test_pick import STUDY, trial

POINTS = judge(
    STUDY,
    [
        Verified(trial(0, 0.95, 0.03), seeds((0.94, 0.0299), (0.92, 0.0301)), []),
        Verified(trial(137, 0.91, 0.005), seeds((0.88, 0.005), (0.91, 0.005)), []),
        Verified(trial(4, 0.90, 0.004), [], ["killed by SIGKILL"]),
    ],
)


def drawn(study, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(VerifiedTable(study, POINTS))
    return capture.get()


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("objectives", [2, 3])
def test_no_figure_and_no_verdict_is_broken(width: int, objectives: int):
    third = Objective(metric="micronet_score", variant="imt-2022", goal="minimize")
    study = STUDY.model_copy(update={"objectives": [*STUDY.objectives, third][:objectives]})
    text = drawn(study, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for whole in ("0.9300±0.0141", "0.03000±0.00014", "luck: top1 >= 0.9 does not hold on average"):
        assert whole in text


def test_a_figure_in_which_the_seeds_agree_has_no_deviation():
    line = next(line for line in drawn(STUDY, 120).splitlines() if "137" in line)
    assert line.split("luck")[0].split() == [
        "137",
        "0.9100",
        "0.8950±0.0212",
        "0.8950±0.0212",
        "0.00500",
        "0.00500",
    ]
